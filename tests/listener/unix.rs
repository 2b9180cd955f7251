//! `--listen unix:PATH`.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::support::{Binary, Client, Gate, House, Issuer, Origin, client, eventually};

/// A directory of one test, removed at its end. Its name is short: a socket's path may have 103 bytes.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("claimgate-{:08x}", fastrand::u32(..)));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("gate.sock")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn listen_at(socket: &Path) -> String {
    format!("unix:{}", socket.display())
}

async fn get(socket: &Path, token: &str, fields: &str) -> client::Response {
    let mut client = Client::connect_unix(socket.to_str().unwrap()).await;
    client.send(client::request("GET", "/", Some(token), fields)).await;
    client.response().await
}

#[tokio::test]
async fn requests_come_over_a_unix_socket() {
    let directory = Directory::new();
    let socket = directory.socket();
    let house = House::start(&["--listen", &listen_at(&socket)]).await;
    let token = house.issuer.token().sign();
    let mut client = Client::connect_unix(socket.to_str().unwrap()).await;
    for _ in 0..2 {
        client.send(client::request("GET", "/", Some(&token), "X-Forwarded-For: 203.0.113.9\r\n")).await;
        assert_eq!(client.response().await.status, 200);
    }
    let seen = house.origin.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("unknown"), "whoever it is, it is not believed");
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    client.send(client::request("GET", "/", None, "")).await;
    assert_eq!(client.response().await.denial().reason, "token_missing");
}

#[tokio::test]
async fn a_proxy_on_a_unix_socket_is_believed_where_it_is_trusted() {
    let directory = Directory::new();
    let socket = directory.socket();
    for name in ["unix", "unix:"] {
        let house = House::start(&["--listen", &listen_at(&socket), "--trusted-proxy", name]).await;
        let token = house.issuer.token().sign();
        assert_eq!(get(&socket, &token, "X-Forwarded-For: 203.0.113.9, 10.0.0.1\r\n").await.status, 200);
        assert_eq!(house.origin.last().header("x-forwarded-for"), Some("203.0.113.9, 10.0.0.1"), "nothing to add");
        assert_eq!(get(&socket, &token, "X-Forwarded-Proto: https\r\n").await.status, 200);
        let seen = house.origin.last();
        assert_eq!(
            (seen.header("x-forwarded-for"), seen.header("x-forwarded-proto")),
            (Some("unknown"), Some("https"))
        );
    }
}

#[tokio::test]
async fn the_socket_is_for_its_owner_and_group_and_gone_at_the_end() {
    let directory = Directory::new();
    let socket = directory.socket();
    let house = House::start(&["--listen", &listen_at(&socket)]).await;
    let there = fs::symlink_metadata(&socket).unwrap();
    assert!(there.file_type().is_socket());
    assert_eq!(there.permissions().mode() & 0o777, 0o660);
    drop(house);
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0);
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    let directory = Directory::new();
    let socket = directory.socket();
    drop(UnixListener::bind(&socket).unwrap());
    let house = House::start(&["--listen", &listen_at(&socket)]).await;
    let listen = listen_at(&socket);
    let flags = ["--listen", &listen, "--issuer", &house.issuer.url(), "--upstream", &house.origin.url()];
    let second = Binary::run(&flags, &[]).await;
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("--listen unix:") && second.stderr.contains("another process"), "{}", second.stderr);
    assert_eq!(get(&socket, &house.issuer.token().sign(), "").await.status, 200, "the first one serves on");
}

#[tokio::test]
async fn what_is_no_socket_is_never_replaced() {
    let directory = Directory::new();
    let socket = directory.socket();
    fs::write(&socket, "precious").unwrap();
    let listen = listen_at(&socket);
    let flags = ["--listen", &listen, "--issuer", "https://issuer.example.com", "--upstream", "http://127.0.0.1:1"];
    let ended = Binary::run(&flags, &[]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("something else than a socket"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[tokio::test]
async fn a_socket_that_another_process_took_over_stays() {
    let directory = Directory::new();
    let socket = directory.socket();
    let issuer = Issuer::start();
    let origin = Origin::start();
    let first = Gate::start(&issuer, &origin, &["--listen", &listen_at(&socket)]);
    first.is_ready().await;
    fs::remove_file(&socket).unwrap();
    let second = Gate::start(&issuer, &origin, &["--listen", &listen_at(&socket)]);
    second.is_ready().await;
    drop(first);
    assert_eq!(get(&socket, &issuer.token().sign(), "").await.status, 200);
}

#[tokio::test]
async fn the_access_log_names_the_peer_unix() {
    let (issuer, origin, directory) = (Issuer::start(), Origin::start(), Directory::new());
    let socket = directory.socket();
    let listen = listen_at(&socket);
    let binary = Binary::start(&["--listen", &listen, "--issuer", &issuer.url(), "--upstream", &origin.url()]);
    eventually("it listens", async || socket.exists()).await;
    let refused = get(&socket, "no token", "").await;
    assert_eq!(refused.status, 400);
    eventually("it is logged", async || {
        binary.log().iter().any(|line| line["peer"] == "unix" && line["reason"] == "malformed_credentials")
    })
    .await;
    assert!(binary.stderr()[0].contains(&listen), "{}", binary.stderr()[0]);
    binary.signal("TERM");
    assert_eq!(binary.wait().await.code, Some(0));
    assert!(!socket.exists());
}
