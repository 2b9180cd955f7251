//! WebSocket over HTTP/2 (RFC 8441), towards an origin of HTTP/1.1.

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};

use super::expiry::{EXPIRED, last_moment};
use super::{HELLO, MASKED_HELLO, Sockets, field, switching, switching_for, unmask};
use crate::support::http2::{Http2, get, next, reason, whole};
use crate::support::{Binary, Client, Issuer, client, eventually, patiently};

pub(crate) fn connect(token: Option<&str>) -> http::request::Builder {
    let request = Request::connect("http://gate.test/chat?room=1").header("sec-websocket-version", "13");
    let request = request.extension(Protocol::from("websocket"));
    match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    }
}

/// A connection that knows that the gate takes extended CONNECT: its settings have come with a first answer.
pub(crate) async fn connection(sockets: &Sockets) -> Http2 {
    let mut connection = Http2::connect(sockets.house.gate.addr()).await;
    assert_eq!(connection.exchange(get("/", None)).await.status, 401);
    connection
}

/// Both ends of a WebSocket, the head that the origin got, and the response.
pub(crate) struct Open {
    pub(super) sending: SendStream<Bytes>,
    pub(crate) receiving: RecvStream,
    pub(super) origin: Client,
    head: String,
    response: Response<()>,
}

pub(crate) async fn open(sockets: &Sockets, connection: &mut Http2, request: http::request::Builder) -> Open {
    let (response, sending) = connection.begin(request.body(()).unwrap(), false).await;
    let mut origin = sockets.accept().await;
    let head = origin.read_head().await;
    origin.send(switching_for(field(&head, "sec-websocket-key").unwrap())).await;
    let (response, receiving) = patiently("a response", response).await.unwrap().into_parts();
    Open { sending, receiving, origin, head, response: Response::from_parts(response, ()) }
}

/// So many bytes of what the client gets.
pub(crate) async fn received(receiving: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        bytes.extend(next(receiving).await.expect("more").unwrap());
    }
    bytes
}

/// What is left until the stream ends in order.
pub(super) async fn rest(receiving: &mut RecvStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(data) = next(receiving).await {
        bytes.extend(data.unwrap());
    }
    bytes
}

async fn refused(response: ResponseFuture) -> (u16, String) {
    let response = whole(response).await.unwrap();
    (response.status, reason(&response))
}

#[tokio::test]
async fn a_stream_becomes_a_websocket() {
    let sockets = Sockets::start(&[]).await;
    let mut connection = connection(&sockets).await;
    let request = connect(Some(&sockets.token)).header("origin", "https://app.example.com");
    let Open { mut sending, mut receiving, mut origin, head, response } =
        open(&sockets, &mut connection, request.header("sec-websocket-key", "mine")).await;
    assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "gate.test"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("origin", "https://app.example.com"),
    ] {
        assert_eq!(field(&head, name), Some(value), "{head}");
    }
    assert!(field(&head, "x-jwt-claims").is_some(), "{head}");
    assert_eq!(response.status(), 200);
    for name in ["connection", "upgrade", "sec-websocket-accept", "content-length"] {
        assert_eq!(response.headers().get(name), None);
    }
    sending.send_data(MASKED_HELLO.into(), false).unwrap();
    assert_eq!(origin.bytes(MASKED_HELLO.len()).await, MASKED_HELLO);
    origin.send(HELLO).await;
    assert_eq!(received(&mut receiving, HELLO.len()).await, HELLO);
    sending.send_data(Bytes::new(), true).unwrap();
    assert!(origin.is_closed().await);
    origin.send(HELLO).await;
    drop(origin);
    assert_eq!(received(&mut receiving, HELLO.len()).await, HELLO);
    assert_eq!(rest(&mut receiving).await, b"");
}

#[tokio::test]
async fn several_share_a_connection_and_each_has_a_key_of_its_own() {
    let sockets = Sockets::start(&[]).await;
    let mut connection = connection(&sockets).await;
    let mut first = open(&sockets, &mut connection, connect(Some(&sockets.token))).await;
    let mut second = open(&sockets, &mut connection, connect(Some(&sockets.token))).await;
    assert_ne!(field(&first.head, "sec-websocket-key"), field(&second.head, "sec-websocket-key"));
    // One stands still, and the other goes on.
    first.sending.reserve_capacity(1);
    second.sending.send_data(MASKED_HELLO.into(), false).unwrap();
    assert_eq!(second.origin.bytes(MASKED_HELLO.len()).await, MASKED_HELLO);
    // More than the window of a stream, in both directions.
    let large: Vec<u8> = (0..1_000_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    let (sent, got) = tokio::join!(first.origin.send(&large), received(&mut first.receiving, large.len()));
    let () = sent;
    assert!(got == large);
    let sent = async {
        let mut left = Bytes::from(large.clone());
        while !left.is_empty() {
            first.sending.reserve_capacity(left.len());
            let capacity = std::future::poll_fn(|cx| first.sending.poll_capacity(cx)).await.unwrap().unwrap();
            first.sending.send_data(left.split_to(capacity.min(left.len())), false).unwrap();
        }
    };
    let ((), got) = tokio::join!(sent, first.origin.bytes(large.len()));
    assert!(got == large);
    // A reset of one is the end of that one.
    first.sending.send_reset(Reason::CANCEL);
    assert!(first.origin.is_closed().await);
    second.origin.send(HELLO).await;
    assert_eq!(received(&mut second.receiving, HELLO.len()).await, HELLO);
    drop(second.origin);
    assert_eq!(rest(&mut second.receiving).await, b"");
}

/// Each in a frame of its own, as a chat has them; that is no flood.
#[tokio::test]
async fn ten_thousand_small_messages_come_back_unchanged() {
    const COUNT: usize = 10_000;
    let sockets = Sockets::start(&[]).await;
    let mut connection = connection(&sockets).await;
    let Open { mut sending, mut receiving, mut origin, .. } =
        open(&sockets, &mut connection, connect(Some(&sockets.token))).await;
    let echo = tokio::spawn(async move {
        loop {
            let bytes = origin.some().await;
            if bytes.is_empty() {
                return;
            }
            origin.send(bytes).await;
        }
    });
    for _ in 0..COUNT / 100 {
        for _ in 0..100 {
            sending.send_data(MASKED_HELLO.into(), false).unwrap();
        }
        assert!(received(&mut receiving, 100 * MASKED_HELLO.len()).await == MASKED_HELLO.repeat(100));
    }
    sending.send_data(Bytes::new(), true).unwrap();
    assert_eq!(rest(&mut receiving).await, b"");
    echo.await.unwrap();
}

#[tokio::test]
async fn what_is_refused_never_reaches_the_origin() {
    let sockets = Sockets::start(&[]).await;
    let mut connection = connection(&sockets).await;
    let token = Some(&*sockets.token);
    let other = |name: &'static str| connect(token).extension(Protocol::from(name));
    let no_version = Request::connect("http://gate.test/").header("authorization", format!("Bearer {}", sockets.token));
    let no_version = no_version.extension(Protocol::from("websocket"));
    for (request, expected) in [
        (connect(None), (401, "token_missing")),
        (connect(Some("a.b.c")), (401, "malformed_token")),
        (other("connect-udp"), (405, "method_refused")),
        (other("h2c"), (405, "method_refused")),
        (Request::connect("gate.test:443"), (405, "method_refused")),
        (no_version, (400, "malformed_request")),
    ] {
        let (response, _sending) = connection.begin(request.body(()).unwrap(), false).await;
        let (status, reason) = refused(response).await;
        assert_eq!((status, &*reason), expected);
    }
    assert!(sockets.is_left_alone().await);
}

#[tokio::test]
async fn an_answer_that_does_not_switch_begins_nothing() {
    let sockets = Sockets::start(&[]).await;
    let mut connection = connection(&sockets).await;
    for (answer, status, text) in [
        (switching(""), 502, None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), 502, None),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(), 403, Some("no")),
    ] {
        let request = connect(Some(&sockets.token)).body(()).unwrap();
        let (response, _sending) = connection.begin(request, false).await;
        let mut origin = sockets.accept().await;
        origin.read_head().await;
        origin.send([answer.as_bytes(), b""].concat()).await;
        let response = whole(response).await.unwrap();
        assert_eq!(response.status, status, "{answer}");
        match text {
            Some(text) => assert_eq!(response.text(), text),
            None => assert_eq!(reason(&response), "upstream_protocol"),
        }
        drop(origin);
    }
}

#[tokio::test]
async fn a_public_route_is_public_for_it_too() {
    let sockets = Sockets::start(&["--skip-auth-route", "GET=/chat"]).await;
    let mut connection = connection(&sockets).await;
    let open = open(&sockets, &mut connection, connect(None)).await;
    assert_eq!((open.response.status().as_u16(), field(&open.head, "x-jwt-claims")), (200, None));
}

#[tokio::test]
async fn a_token_among_the_sub_protocols_serves_here_too() {
    let sockets = Sockets::start(&["--token-websocket-protocol", "access_token"]).await;
    let mut connection = connection(&sockets).await;
    let request = connect(None).header("sec-websocket-protocol", format!("access_token, {}", sockets.token));
    let open = open(&sockets, &mut connection, request).await;
    assert!(field(&open.head, "x-jwt-claims").is_some() && !open.head.contains(&sockets.token), "{}", open.head);
    assert_eq!(open.response.headers()["sec-websocket-protocol"], "access_token");
}

#[tokio::test]
async fn it_ends_when_its_token_does_and_its_connection_goes_on() {
    let sockets = last_moment(&[]).await;
    let mut connection = connection(&sockets).await;
    let mut open = open(&sockets, &mut connection, connect(Some(&sockets.token))).await;
    assert_eq!(received(&mut open.receiving, EXPIRED.len()).await, EXPIRED);
    let (first, payload) = unmask(&open.origin.bytes(EXPIRED.len() + 4).await);
    assert_eq!((first, &payload[..]), (EXPIRED[0], &EXPIRED[2..]));
    open.sending.send_data(Bytes::from_static(b"\x88\x82\0\0\0\0\x03\xf0"), false).unwrap();
    open.origin.send(b"\x88\x02\x03\xf0").await;
    assert_eq!(rest(&mut open.receiving).await, b"");
    assert!(open.origin.is_closed().await);
    assert_eq!(connection.exchange(get("/", None)).await.status, 401);
}

#[tokio::test]
async fn it_is_closed_as_going_away_when_the_process_ends() {
    let issuer = Issuer::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let flags = ["--issuer", &issuer.url(), "--upstream", &upstream, "--shutdown-grace-period", "2s"];
    let binary = Binary::start(&[&flags[..], &["--access-log", "all"]].concat());
    let admin = binary.admin_addr().await;
    eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
    let mut connection = Http2::connect(binary.addr().await).await;
    assert_eq!(connection.exchange(get("/", None)).await.status, 401);
    let request = connect(Some(&issuer.token().sign())).body(()).unwrap();
    let (response, _sending) = connection.begin(request, false).await;
    let mut origin = Client::over(listener.accept().await.unwrap().0);
    let head = origin.read_head().await;
    origin.send(switching_for(field(&head, "sec-websocket-key").unwrap())).await;
    let mut receiving = patiently("a response", response).await.unwrap().into_body();
    binary.signal("TERM");
    eventually("no more is taken", async || connection.takes_no_more().await).await;
    origin.send(HELLO).await;
    assert_eq!(received(&mut receiving, HELLO.len()).await, HELLO);
    let close = received(&mut receiving, super::drain::GOING_AWAY.len()).await;
    assert_eq!(close, super::drain::GOING_AWAY);
    assert_eq!(unmask(&origin.rest().await).1, &super::drain::GOING_AWAY[2..]);
    let ended = binary.wait().await;
    assert_eq!(ended.code, Some(143));
    let mut lines = ended.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let logged = lines.find(|line| line["path"] == "/chat").unwrap();
    assert_eq!((&logged["status"], &logged["method"]), (&200.into(), &"GET".into()), "{logged}");
}
