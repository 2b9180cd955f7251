//! What a client, or an issuer, writes reaches a log or a page cut, escaped, and without a trace of a password.

use std::net::SocketAddr;

use serde_json::json;

use crate::support::{Binary, Issuer, Origin, client, eventually};

async fn start(issuer: &Issuer, origin: &Origin, flags: &[&str]) -> Binary {
    let (issuer_url, upstream) = (issuer.url(), origin.url());
    let usual = ["--issuer", &*issuer_url, "--upstream", &*upstream, "--access-log", "all"];
    let binary = Binary::start(&[&usual[..], flags].concat());
    let (addr, token) = (binary.addr().await, issuer.token().sign());
    eventually("it has keys", async || client::get(addr, "/", Some(&token)).await.status == 200).await;
    binary
}

#[tokio::test]
async fn only_what_has_the_form_of_a_jwt_leaves_a_hash_in_the_access_log() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = start(&issuer, &origin, &[]).await;
    let (addr, token) = (binary.addr().await, issuer.token().sign());
    for (path, authorization, is_hashed) in [
        ("/jwt", format!("Bearer {token}"), true),
        ("/forged", format!("Bearer {}", issuer.token().signed_by(&issuer.key().forged()).sign()), true),
        ("/basic", "Basic dXNlcjpodW50ZXIy".to_owned(), false),
        ("/opaque", "Bearer hunter2".to_owned(), false),
        ("/dotted", "Bearer hun.ter.2".to_owned(), false),
        ("/short", "Bearer eyJhbGciOiJFUzI1NiJ9.e30.hunter2".to_owned(), false),
        ("/bare", "hunter2".to_owned(), false),
    ] {
        let fields = format!("Authorization: {authorization}\r\nConnection: close\r\n");
        client::exchange(addr, client::request("GET", path, None, &fields)).await;
        eventually("it is logged", async || binary.log().iter().any(|line| line["path"] == path)).await;
        let line = binary.log().into_iter().find(|line| line["path"] == path).unwrap();
        assert_eq!(line["token_sha256"].as_str().is_some_and(|hash| hash.len() == 8), is_hashed, "{path}: {line}");
    }
}

#[tokio::test]
async fn every_text_of_a_client_is_cut_in_every_log() {
    /// The longest line that a log may have, in bytes: a path of 1 KiB and what stands around it.
    const MOST: usize = 2048;
    for format in ["json", "text"] {
        let (issuer, origin) = (Issuer::start(), Origin::start());
        let (issuer_url, upstream) = (issuer.url(), origin.url());
        let flags = ["--issuer", &*issuer_url, "--upstream", &*upstream, "--access-log", "all", "--log-level", "trace"];
        let binary = Binary::start(&[&flags[..], &["--log-format", format]].concat());
        eventually("it says where it listens", async || address(&binary).is_some()).await;
        let addr: SocketAddr = address(&binary).unwrap();
        let token = issuer.token().sign();
        eventually("it has keys", async || client::get(addr, "/", Some(&token)).await.status == 200).await;
        let (long, kid) = ("x".repeat(50_000), "k".repeat(8_000));
        let of = |name: &str| format!("{name}: {long}\r\nConnection: close\r\n");
        for request in [
            client::request(&"X".repeat(50_000), "/", None, ""),
            client::request("GET", &format!("/{long}"), None, ""),
            client::request("GET", &format!("/?{long}"), Some(&token), ""),
            client::request("GET", "/", None, &of("X-Request-Id")),
            client::request("GET", "/", None, &of("User-Agent")),
            client::request("GET", "/", None, &of("Authorization")),
            client::request("GET", "/", Some(&token), &of("X-Forwarded-For")),
            client::request("GET", "/", Some(&issuer.token().header("kid", &*kid).sign()), ""),
            client::request("GET", "/", Some(&issuer.token().header("typ", &*kid).sign()), ""),
            client::request("GET", "/", Some(&issuer.token().claim("iss", &*kid).sign()), ""),
        ] {
            let before = binary.stdout().len();
            client::exchange(addr, request).await;
            eventually("it is logged", async || binary.stdout().len() > before).await;
        }
        let lines = [binary.stdout(), binary.stderr()].concat();
        let longest = lines.iter().max_by_key(|line| line.len()).unwrap();
        assert!(longest.len() <= MOST, "{format}: {} bytes: {longest}", longest.len());
    }
}

/// From the first line, in either format.
fn address(binary: &Binary) -> Option<SocketAddr> {
    let line = binary.stderr().into_iter().next()?.replace("\"listen\":\"", "listen=");
    line.split_once(" listen=").or(line.split_once(",listen="))?.1.split([' ', '"']).next()?.parse().ok()
}

#[tokio::test]
async fn no_text_of_a_key_set_forges_a_line_of_the_details() {
    const FORGED: &str = "[+] issuer https://forged.example.com";
    for (name, value) in [
        ("kid", format!("a\n{FORGED}")),
        ("kid", format!("a\r\n{FORGED}\r\n")),
        ("kid", format!("a\u{2028}\u{85}\n{FORGED}\u{1b}[2J")),
        ("alg", format!("ES256\n{FORGED}")),
        ("kty", format!("EC\n{FORGED}")),
    ] {
        let (issuer, origin) = (Issuer::start(), Origin::start());
        let mut jwk = issuer.key().with_kid("odd").jwk();
        jwk[name] = json!(value);
        issuer.publish(jwk);
        let binary = start(&issuer, &origin, &[]).await;
        let details = client::get_local(binary.admin_addr().await, "/readyz?verbose").await.text();
        assert!(details.contains("key"), "{details}");
        assert!(!details.lines().any(|line| line.starts_with("[+] issuer https://forged")), "{name}: {details}");
        assert!(!details.contains(['\r', '\u{1b}', '\u{85}', '\u{2028}']), "{name}: {details:?}");
    }
}
