//! `--tls-cert-file` and what goes with it.

use rustls::ProtocolVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::authority::{Identity, connect};
use crate::support::http2::{self, Http2};
use crate::support::origin::{is_pattern, pattern};
use crate::support::{
    Authority, Binary, Client, Exposition, House, Reply, Secret, client, eventually, patiently, stands_still,
};

/// An authority, a certificate of it, and a house behind that.
struct TlsHouse {
    authority: Authority,
    identity: Identity,
    secret: Secret,
    house: House,
}

impl TlsHouse {
    async fn start(flags: &[&str]) -> Self {
        let authority = Authority::new();
        let identity = authority.issue();
        let secret = Secret::new(&identity, &authority);
        let tls = secret.flags();
        let flags: Vec<_> = tls.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        let house = House::start(&flags).await;
        Self { authority, identity, secret, house }
    }

    fn get(&self, fields: &str) -> String {
        client::request("GET", "/", Some(&self.house.issuer.token().sign()), fields)
    }
}

#[tokio::test]
async fn requests_come_over_tls_and_the_origin_is_told() {
    let house = TlsHouse::start(&[]).await;
    let mut client = house.authority.client().connect(house.house.gate.addr()).await;
    assert_eq!(client.server_certificate(), house.identity.certificate);
    assert_eq!(client.stream().get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    for _ in 0..3 {
        client.send(house.get("X-Forwarded-Proto: gopher\r\n")).await;
        assert_eq!(client.response().await.status, 200);
        let seen = house.house.origin.last();
        assert_eq!(
            (seen.header("x-forwarded-proto"), seen.header("x-forwarded-for")),
            (Some("https"), Some("127.0.0.1"))
        );
        assert_eq!(seen.header("via"), Some("1.1 claimgate"));
    }
    client.send(client::request("GET", "/", None, "")).await;
    assert_eq!(client.response().await.denial().reason, "token_missing");
}

#[tokio::test]
async fn a_client_that_speaks_http_2_does_so_over_tls() {
    let house = TlsHouse::start(&[]).await;
    for alpn in [&[&b"h2"[..], b"http/1.1"][..], &[b"http/1.1", b"h2"], &[b"h2"]] {
        let client = house.authority.client_of(None, alpn).connect(house.house.gate.addr()).await;
        assert_eq!(client.stream().get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut client = Http2::over(client.into_stream()).await;
        let request = http2::get("/", Some(&house.house.issuer.token().sign()));
        assert_eq!(client.exchange(request).await.status, 200);
        let seen = house.house.origin.last();
        assert_eq!((seen.header("x-forwarded-proto"), seen.header("via")), (Some("https"), Some("2.0 claimgate")));
        assert_eq!(http2::reason(&client.exchange(http2::get("/", None)).await), "token_missing");
    }
}

#[tokio::test]
async fn what_alpn_agreed_upon_is_held_to() {
    let house = TlsHouse::start(&[]).await;
    let mut client = house.authority.client_of(None, &[b"h2"]).connect(house.house.gate.addr()).await;
    client.send(house.get("")).await;
    assert!(!client.rest().await.starts_with(b"HTTP/1"));
    assert_eq!(house.house.origin.received().len(), 0);
    let other = house.authority.client_of(None, &[b"gopher"]);
    assert!(other.try_over(connect(house.house.gate.addr()).await).await.is_err());
}

#[tokio::test]
async fn a_client_that_names_no_protocol_speaks_http_1() {
    let house = TlsHouse::start(&[]).await;
    let mut client = house.authority.client_of(None, &[]).connect(house.house.gate.addr()).await;
    client.send(house.get("Connection: close\r\n")).await;
    assert_eq!(client.response().await.status, 200);
    assert!(client.is_closed_in_order().await, "with close_notify");
}

#[tokio::test]
async fn large_bodies_pass_in_both_directions() {
    let house = TlsHouse::start(&[]).await;
    house.house.origin.reply(Reply::pattern(8 << 20));
    let mut client = house.authority.client().connect(house.house.gate.addr()).await;
    let mut body = Vec::new();
    while body.len() < 3 << 20 {
        body.extend_from_slice(pattern(body.len() as u64, 4096));
    }
    let token = house.house.issuer.token().sign();
    let head = client::request("POST", "/", Some(&token), &format!("Content-Length: {}\r\n", body.len()));
    client.send([head.as_bytes(), &body].concat()).await;
    let response = client.response().await;
    assert_eq!((response.status, response.body.len()), (200, 8 << 20));
    assert!(is_pattern(0, &response.body));
    let seen = house.house.origin.last();
    assert!(seen.is_pattern && seen.body_length == body.len() as u64);
}

#[tokio::test]
async fn an_idle_connection_ends_with_a_word() {
    let house = TlsHouse::start(&["--idle-timeout", "300ms"]).await;
    let mut client = house.authority.client().connect(house.house.gate.addr()).await;
    client.send(house.get("")).await;
    assert_eq!(client.response().await.status, 200);
    assert!(client.is_closed_in_order().await);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_over_tls_is_let_go() {
    let house = TlsHouse::start(&["--stream-idle-timeout", "300ms"]).await;
    house.house.origin.reply(Reply::pattern(1 << 30));
    let mut client = house.authority.client().connect(house.house.gate.addr()).await;
    client.send(house.get("")).await;
    eventually("the origin is let go", async || house.house.origin.abandoned() == 1).await;
}

/// TLS keeps back what the kernel does not take; a unix socket takes some 200 KiB.
#[tokio::test]
async fn an_answer_that_is_read_late_arrives_to_its_last_byte() {
    let path = std::env::temp_dir().join(format!("claimgate-{:08x}.sock", fastrand::u32(..)));
    let listen = format!("unix:{}", path.display());
    let house = TlsHouse::start(&["--workers", "1", "--listen", &listen]).await;
    let connect = async || {
        let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        house.authority.client().try_over(stream).await.unwrap()
    };
    let mut other = connect().await;
    for length in (1..=20).map(|number| number * 32 * 1024) {
        house.house.origin.reply_next([Reply::pattern(length)]);
        let (mut client, before) = (connect().await, house.house.origin.written());
        client.send(house.get("")).await;
        eventually("it is on its way", async || house.house.origin.written() == before + length).await;
        // What one worker does for another connection, it does after what it can do for this one.
        for _ in 0..5 {
            other.send(house.get("")).await;
            assert_eq!(other.response().await.status, 200);
        }
        let response = client.response().await;
        assert!(response.body.len() as u64 == length && is_pattern(0, &response.body), "{length}");
    }
}

#[tokio::test]
async fn hints_that_are_read_late_arrive_before_there_is_an_answer() {
    let path = std::env::temp_dir().join(format!("claimgate-{:08x}.sock", fastrand::u32(..)));
    let listen = format!("unix:{}", path.display());
    let house = TlsHouse::start(&["--listen", &listen]).await;
    let hints = format!("HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n", "l".repeat(30_000));
    // Some length leaves no room for them.
    for number in 1..=8 {
        let hinted = Reply::raw(&*hints).hold_until(number).then("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let length = (number as u64 + 3) * 24 * 1024;
        house.house.origin.reply_next([Reply::pattern(length), hinted]);
        let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        let mut client = house.authority.client().try_over(stream).await.unwrap();
        client.send(house.get("").repeat(2)).await;
        stands_still("nothing goes on", || house.house.origin.begun() as u64).await;
        assert_eq!(client.response().await.body.len() as u64, length);
        assert!(client.bytes(hints.len()).await == hints.as_bytes(), "{length}");
        house.house.origin.release();
        assert_eq!(client.response().await.text(), "ok", "{length}");
    }
}

#[tokio::test]
async fn an_answer_cut_by_its_origin_does_not_end_with_a_word() {
    let house = TlsHouse::start(&[]).await;
    // To HTTP/1.0 the end of the connection is that of the answer.
    house.house.origin.reply(Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").close());
    let mut client = house.authority.client().connect(house.house.gate.addr()).await;
    let token = house.house.issuer.token().sign();
    client.send(format!("GET / HTTP/1.0\r\nHost: gate.test\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    client.rest().await;
    assert!(client.was_reset());
}

#[tokio::test]
async fn a_slow_handshake_is_cut_within_the_time_of_the_first_head() {
    let house = TlsHouse::start(&["--header-timeout", "300ms"]).await;
    let addr = house.house.gate.addr();
    let mut silent = Client::connect(addr).await;
    // The first bytes of a handshake record of 512 bytes.
    let mut begun = Client::connect(addr).await;
    begun.send(b"\x16\x03\x01\x02\x00\x01").await;
    assert!(silent.is_closed().await);
    assert!(begun.is_closed().await);
    // The time of the handshake is that of the head: whoever has shaken hands has no more of it.
    let mut speechless = house.authority.client().connect(addr).await;
    assert!(speechless.is_closed().await);
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_answered() {
    let house = TlsHouse::start(&[]).await;
    let refused = client::get(house.house.gate.addr(), "/", Some(&house.house.issuer.token().sign())).await;
    assert_eq!((refused.status, &*refused.denial().reason), (400, "malformed_request"));
    assert_eq!(house.house.origin.received().len(), 0);
    let admin = house.house.gate.admin_addr();
    let series = "claimgate_requests_total{outcome=\"denied\",reason=\"malformed_request\"}";
    eventually("it is counted", async || Exposition::scrape(admin).await.value(series) >= 1.0).await;
}

#[tokio::test]
async fn neither_tls_nor_http_is_closed_and_others_are_served() {
    let house = TlsHouse::start(&[]).await;
    let mut client = Client::connect(house.house.gate.addr()).await;
    client.send([0; 64]).await;
    let alert = client.rest().await;
    assert_eq!(alert.first(), Some(&0x15), "{alert:?}");
    let mut client = house.authority.client().connect(house.house.gate.addr()).await;
    client.send(house.get("")).await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn the_oldest_version_is_what_is_set() {
    for (flags, expected) in [
        (&[][..], Some(ProtocolVersion::TLSv1_2)),
        (&["--tls-min-version", "1.2"], Some(ProtocolVersion::TLSv1_2)),
        (&["--tls-min-version", "VersionTLS13"], None),
    ] {
        let house = TlsHouse::start(flags).await;
        let newest = house.authority.client().connect(house.house.gate.addr()).await;
        assert_eq!(newest.stream().get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let old = house.authority.client_with(&[&rustls::version::TLS12]);
        let old = old.try_over(connect(house.house.gate.addr()).await).await;
        let version = old.ok().and_then(|client| client.stream().get_ref().1.protocol_version());
        assert_eq!(version, expected, "{flags:?}");
    }
}

#[tokio::test]
async fn where_client_certificates_are_asked_for_nobody_comes_without() {
    let (clients, strangers) = (Authority::new(), Authority::new());
    let secret = Secret::new(&clients.issue(), &clients);
    let house = TlsHouse::start(&["--tls-client-ca-file", &secret.file("ca.crt")]).await;
    let addr = house.house.gate.addr();
    for (identity, is_let_in) in [
        (Some(clients.issue()), true),
        (Some(strangers.issue()), false),
        (Some(clients.issue_until(2020)), false),
        (None, false),
    ] {
        let tls = house.authority.client_of(identity.as_ref(), &[b"http/1.1"]);
        for _ in 0..2 {
            let mut client = tls.connect(addr).await;
            // In TLS 1.3 a client is done before its certificate is judged.
            client.try_send(house.get("Connection: close\r\n")).await;
            let answer = client.rest().await;
            assert_eq!(answer.starts_with(b"HTTP/1.1 200"), is_let_in, "{}", answer.escape_ascii());
        }
    }
    assert_eq!(house.house.origin.received().len(), 2);
}

#[tokio::test]
async fn sessions_are_resumed_except_where_client_certificates_are_asked_for() {
    let clients = Authority::new();
    let secret = Secret::new(&clients.issue(), &clients);
    let ca_file = secret.file("ca.crt");
    for (flags, kind) in
        [(&[][..], rustls::HandshakeKind::Resumed), (&["--tls-client-ca-file", &*ca_file], rustls::HandshakeKind::Full)]
    {
        let house = TlsHouse::start(flags).await;
        let identity = clients.issue();
        let tls = house.authority.client_of(Some(&identity), &[b"http/1.1"]);
        let mut last = None;
        for _ in 0..2 {
            let mut client = tls.connect(house.house.gate.addr()).await;
            client.send(house.get("")).await;
            assert_eq!(client.response().await.status, 200);
            last = client.stream().get_ref().1.handshake_kind();
        }
        assert_eq!(last, Some(kind));
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_files_is_told_before_a_port_is_bound() {
    let authority = Authority::new();
    let (one, other) = (authority.issue(), authority.issue());
    let secret = Secret::new(&one, &authority);
    let (cert, key, ca) = (secret.file("tls.crt"), secret.file("tls.key"), secret.file("ca.crt"));
    let check = async |flags: &[&str], expected: &[String]| {
        let usual = ["--issuer", "https://issuer.example.com", "--upstream", "http://127.0.0.1:1"];
        let ended = Binary::run(&[&usual, flags].concat(), &[]).await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        for expected in expected {
            assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("PRIVATE KEY-"), "{}", ended.stderr);
    };
    let both = ["--tls-cert-file", &*cert, "--tls-key-file", &*key];
    secret.put(&one.cert_pem, &other.key_pem, &authority.pem);
    check(&both, &[format!("--tls-key-file '{key}': it is not the key of the certificate; give both")]).await;
    secret.put("", &one.cert_pem, "");
    let all = [&both[..], &["--tls-client-ca-file", &*ca]].concat();
    let expected = [
        format!("--tls-cert-file '{cert}': it holds no certificate"),
        format!("--tls-key-file '{key}': it holds no private key"),
        format!("--tls-client-ca-file '{ca}': it holds no certificate"),
    ];
    check(&all, &expected).await;
    let encrypted = one.key_pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    secret.put(&one.cert_pem, &encrypted, &authority.pem);
    check(&both, &["its key is encrypted; decrypt it".to_owned()]).await;
    check(&["--tls-cert-file", "/nonexistent", "--tls-key-file", &key], &["it cannot be read".to_owned()]).await;
    check(&both[..2], &["give --tls-key-file too".to_owned()]).await;
    check(&both[2..], &["give --tls-cert-file too".to_owned()]).await;
    check(&["--tls-min-version", "1.3"], &["--tls-min-version: without a certificate there is no TLS".to_owned()])
        .await;
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_warned_of_at_the_start() {
    let authority = Authority::new();
    for (year, expected) in [(2020, Some("expired at 2020-01-01T00:00:00Z")), (2090, None)] {
        let identity = authority.issue_until(year);
        let secret = Secret::new(&identity, &authority);
        let flags = ["--issuer", "http://127.0.0.1:1", "--upstream", "http://127.0.0.1:1"].map(str::to_owned);
        let flags = [&flags[..], &secret.flags()].concat();
        let binary = Binary::start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        binary.addr().await;
        eventually("it has warned of the audience", async || {
            binary.stderr().iter().any(|line| line.contains("--audience"))
        })
        .await;
        binary.signal("TERM");
        let stderr = binary.wait().await.stderr;
        assert_eq!(stderr.contains("the certificate in"), expected.is_some(), "{stderr}");
        assert!(stderr.contains(expected.unwrap_or_default()), "{stderr}");
    }
}

#[tokio::test]
async fn tls_is_spoken_over_a_unix_socket_too() {
    let path = std::env::temp_dir().join(format!("claimgate-{:08x}.sock", fastrand::u32(..)));
    let house = TlsHouse::start(&["--listen", &format!("unix:{}", path.display())]).await;
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let mut client = house.authority.client().try_over(stream).await.unwrap();
    client.send(house.get("")).await;
    assert_eq!(client.response().await.status, 200);
    let seen = house.house.origin.last();
    assert_eq!((seen.header("x-forwarded-proto"), seen.header("x-forwarded-for")), (Some("https"), Some("unknown")));
}

#[tokio::test]
async fn a_handshake_in_small_pieces_and_a_head_behind_it_are_read() {
    let house = TlsHouse::start(&[]).await;
    let mut gate = connect(house.house.gate.addr()).await;
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    // Everything that the client sends goes on byte by byte.
    let between = tokio::spawn(async move {
        let (mut to_gate, mut to_client) = ([0; 1], [0; 4096]);
        loop {
            tokio::select! {
                read = far.read(&mut to_gate) => match read {
                    Ok(1..) => drop(gate.write_all(&to_gate).await),
                    _ => return,
                },
                read = gate.read(&mut to_client) => match read {
                    // The client may have its answer, and be gone.
                    Ok(count @ 1..) => drop(far.write_all(&to_client[..count]).await),
                    _ => return,
                },
            }
        }
    });
    let mut client = house.authority.client().try_over(near).await.unwrap();
    client.send(house.get("Connection: close\r\n")).await;
    assert_eq!(client.response().await.status, 200);
    drop(client);
    patiently("the end", between).await.unwrap();
    drop(house.secret);
}
