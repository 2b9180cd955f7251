//! `--listen fd:N`: a socket that was opened by somebody else, as systemd does.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::support::{Binary, Client, Issuer, Origin, client, eventually};

#[tokio::test]
async fn an_inherited_tcp_socket_is_served() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // What came before the start waits in the socket.
    let mut early = Client::connect(addr).await;
    early.send(client::request("GET", "/", None, "")).await;
    let flags = ["--listen", "fd:3", "--issuer", &issuer.url(), "--upstream", &origin.url()];
    let binary = Binary::start_with_descriptor(OwnedFd::from(listener), &flags);
    assert_eq!(early.response().await.denial().reason, "token_missing");
    assert_eq!(binary.addr().await, addr);
    let token = issuer.token().sign();
    eventually("it has keys", async || client::get(addr, "/", Some(&token)).await.status == 200).await;
}

#[tokio::test]
async fn an_inherited_unix_socket_is_served_and_its_file_left_to_its_owner() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let path = std::env::temp_dir().join(format!("claimgate-{:08x}.sock", fastrand::u32(..)));
    let listener = UnixListener::bind(&path).unwrap();
    let flags = ["--listen", "fd:3", "--issuer", &issuer.url(), "--upstream", &origin.url()];
    let binary = Binary::start_with_descriptor(OwnedFd::from(listener), &flags);
    let mut client = Client::connect_unix(path.to_str().unwrap()).await;
    client.send(client::request("GET", "/", None, "Connection: close\r\n")).await;
    assert_eq!(client.response().await.denial().reason, "token_missing");
    binary.signal("TERM");
    assert_eq!(binary.wait().await.code, Some(0));
    assert!(path.exists());
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn what_was_not_handed_over_or_does_not_listen_is_told() {
    let flags =
        |listen| ["--listen", listen, "--issuer", "https://issuer.example.com", "--upstream", "http://127.0.0.1:1"];
    let connected = || OwnedFd::from(UnixStream::pair().unwrap().0);
    let file = || OwnedFd::from(std::fs::File::open("Cargo.toml").unwrap());
    for (descriptor, listen, expected) in [
        (connected(), "fd:3", "nobody listens on it"),
        (file(), "fd:3", "it is neither a TCP nor a unix stream socket"),
        (connected(), "fd:4", "it was not handed over"),
    ] {
        let ended = Binary::start_with_descriptor(descriptor, &flags(listen)).wait().await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("--listen {listen}: {expected}")), "{}", ended.stderr);
    }
    let ended = Binary::run(&flags("fd:3"), &[]).await;
    assert!(ended.stderr.contains("LISTEN_FDS"), "{}", ended.stderr);
}
