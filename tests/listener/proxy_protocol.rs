//! `--proxy-protocol`: who a client is, before anything else is said.

use crate::support::authority::connect;
use crate::support::{Authority, Binary, Client, House, Issuer, Origin, Secret, client, eventually};

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 443\r\n";
/// From `2001:db8::9`, with a TLV that nobody knows.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x28\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x9c\x40\x01\xbb\xe0\0\x01x";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

async fn start(flags: &[&str]) -> House {
    House::start(&[&["--proxy-protocol", "--trusted-proxy", "127.0.0.0/8"], flags].concat()).await
}

fn request(house: &House, fields: &str) -> String {
    client::request("GET", "/", Some(&house.issuer.token().sign()), fields)
}

fn forwarded_for(house: &House) -> String {
    house.origin.last().header("x-forwarded-for").unwrap().to_owned()
}

#[tokio::test]
async fn the_client_is_who_the_header_names() {
    let house = start(&[]).await;
    for (header, expected) in [
        (V1, "203.0.113.9"),
        (V2, "2001:db8::9"),
        (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n", "203.0.113.7"),
        (LOCAL, "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ] {
        // In one piece with the request, twice on the connection.
        let mut client = Client::connect(house.gate.addr()).await;
        client.send([header, request(&house, "").as_bytes()].concat()).await;
        assert_eq!(client.response().await.status, 200, "{}", header.escape_ascii());
        assert_eq!(forwarded_for(&house), expected);
        client.send(request(&house, "")).await;
        assert_eq!(client.response().await.status, 200);
        assert_eq!(forwarded_for(&house), expected);
        // Byte by byte.
        let mut client = Client::connect(house.gate.addr()).await;
        for byte in [header, request(&house, "").as_bytes()].concat() {
            client.send([byte]).await;
        }
        assert_eq!(client.response().await.status, 200, "{}", header.escape_ascii());
        assert_eq!(forwarded_for(&house), expected);
    }
}

#[tokio::test]
async fn forwarding_headers_are_believed_of_the_client_that_the_header_names() {
    let house = start(&[]).await;
    for (header, expected) in [(V1, "203.0.113.9"), (LOCAL, "192.0.2.7, 127.0.0.1")] {
        let request = request(&house, "X-Forwarded-For: 192.0.2.7\r\n");
        let response = client::exchange(house.gate.addr(), [header, request.as_bytes()].concat()).await;
        assert_eq!((response.status, &*forwarded_for(&house)), (200, expected));
    }
}

#[tokio::test]
async fn it_stands_before_tls() {
    let authority = Authority::new();
    let secret = Secret::new(&authority.issue(), &authority);
    let flags = secret.flags();
    let house = start(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for header in [V1, V2] {
        let mut stream = connect(house.gate.addr()).await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, header).await.unwrap();
        let mut client = authority.client().try_over(stream).await.unwrap();
        client.send(request(&house, "")).await;
        assert_eq!(client.response().await.status, 200);
        let seen = house.origin.last();
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
        assert!(["203.0.113.9", "2001:db8::9"].contains(&&*forwarded_for(&house)));
    }
    let without = authority.client().try_over(connect(house.gate.addr()).await).await;
    assert!(without.is_err(), "TLS at once is no header");
}

#[tokio::test]
async fn a_connection_without_a_header_is_closed() {
    let house = start(&["--header-timeout", "300ms"]).await;
    let plain = request(&house, "");
    let split = [b"PROXY TCP4 203.0.113.9\r\n", plain.as_bytes()].concat();
    for bytes in [plain.as_bytes(), &split, &V1[..V1.len() - 1], &V2[..20], b"PROXY", b""] {
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(bytes).await;
        assert!(client.is_closed().await, "{}", bytes.escape_ascii());
    }
    assert_eq!(house.origin.received().len(), 0);
}

#[tokio::test]
async fn a_peer_that_is_no_trusted_proxy_is_kept_out_and_warned_of_once() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (issuer_url, origin_url) = (issuer.url(), origin.url());
    let flags = ["--issuer", &issuer_url, "--upstream", &origin_url];
    let binary = Binary::start(&[&flags[..], &["--proxy-protocol", "--trusted-proxy", "192.0.2.0/24"]].concat());
    let addr = binary.addr().await;
    for _ in 0..3 {
        let mut client = Client::connect(addr).await;
        client.try_send([V1, client::request("GET", "/", None, "").as_bytes()].concat()).await;
        assert!(client.is_closed().await);
    }
    let warnings = || binary.stderr().iter().filter(|line| line.contains("--trusted-proxy 127.0.0.1")).count();
    eventually("it is warned of", async || warnings() > 0).await;
    assert_eq!(warnings(), 1);
}

#[tokio::test]
async fn over_a_unix_socket_the_proxy_is_trusted_by_name() {
    let path = std::env::temp_dir().join(format!("claimgate-{:08x}.sock", fastrand::u32(..)));
    let listen = format!("unix:{}", path.display());
    for (trusted, is_served) in [("unix", true), ("127.0.0.1", false)] {
        let house = House::start(&["--proxy-protocol", "--trusted-proxy", trusted, "--listen", &listen]).await;
        let mut client = Client::connect_unix(path.to_str().unwrap()).await;
        client.try_send([V1, request(&house, "Connection: close\r\n").as_bytes()].concat()).await;
        assert_eq!(client.rest().await.starts_with(b"HTTP/1.1 200"), is_served, "{trusted}");
        if is_served {
            assert_eq!(forwarded_for(&house), "203.0.113.9");
        }
    }
}

/// `unix` is who opens our socket, and nobody whom the proxy tells of.
#[tokio::test]
async fn a_client_of_a_proxy_with_a_socket_is_not_believed_as_the_proxy_is() {
    let path = std::env::temp_dir().join(format!("claimgate-{:08x}.sock", fastrand::u32(..)));
    let listen = format!("unix:{}", path.display());
    let house = House::start(&["--proxy-protocol", "--trusted-proxy", "unix", "--listen", &listen]).await;
    // Two paths, of 108 bytes each.
    let header = [&LOCAL[..12], &[0x21, 0x31, 0, 216], &[0; 216]].concat();
    for (header, expected) in [(&*header, "unknown"), (LOCAL, "192.0.2.7")] {
        let mut client = Client::connect_unix(path.to_str().unwrap()).await;
        client.send([header, request(&house, "X-Forwarded-For: 192.0.2.7\r\n").as_bytes()].concat()).await;
        assert_eq!(client.response().await.status, 200);
        assert_eq!(forwarded_for(&house), expected);
    }
}

#[tokio::test]
async fn it_needs_to_know_whom_to_trust() {
    let usual = ["--issuer", "https://issuer.example.com", "--upstream", "http://127.0.0.1:1", "--proxy-protocol"];
    let ended = Binary::run(&usual, &[]).await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("--proxy-protocol: ") && ended.stderr.contains("--trusted-proxy"),
        "{}",
        ended.stderr
    );
}
