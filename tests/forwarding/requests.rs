//! Heads of requests.

use crate::support::{Client, House, Reply, client};

#[tokio::test]
async fn method_path_and_query_arrive_byte_for_byte() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let targets = [
        "/",
        "/?",
        "/a/../b/./c//d",
        "//a",
        "/%2e%2E/%2f%00?%zz",
        "/a;b=c/d?e=f&g&&h==",
        "/a?b?c/d",
        "/?https://x/y",
        "/~!$&'()*+,=:@-._",
        "/{a}|[b]^",
        "/A%c3%a9",
    ];
    for target in targets {
        for method in ["GET", "POST", "PATCH", "DELETE", "PROPFIND", "M-SEARCH"] {
            let request = client::request(method, target, Some(&token), "Connection: close\r\n");
            let response = client::exchange(house.gate.addr(), request).await;
            assert_eq!(response.status, 200, "{method} {target}: {response:?}");
            let received = house.origin.last();
            assert_eq!((&*received.method, &*received.target), (method, target));
            assert_eq!(received.version, "HTTP/1.1");
        }
    }
}

#[tokio::test]
async fn options_of_the_whole_server_arrives_as_such() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let response = client::exchange(house.gate.addr(), client::request("OPTIONS", "*", Some(&token), "")).await;
    assert_eq!((response.status, &*house.origin.only().target), (200, "*"));
}

#[tokio::test]
async fn the_authority_of_an_absolute_target_becomes_the_host() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let request = client::request("GET", "http://example.com:8080/a?b", Some(&token), "");
    assert_eq!(client::exchange(house.gate.addr(), request).await.status, 200);
    let received = house.origin.only();
    assert_eq!((&*received.target, received.header("host")), ("/a?b", Some("example.com:8080")));
}

#[tokio::test]
async fn the_host_is_kept() {
    let house = House::start(&[]).await;
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed");
    assert_eq!(house.origin.only().header("host"), Some("gate.test"));
}

#[tokio::test]
async fn fields_keep_their_values_number_and_order_and_go_out_in_lower_case() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let fields = "X-B: 1\r\nX-A: 2\r\nx-b: 3\r\nAccept: text/html;q=0.5, */*\r\nX-B:  4 \t\r\nX-Empty:\r\nCookie: a=b; c\r\n\
                  X-Latin: \u{e9}\r\nX-Tab: a\tb\r\n";
    let bytes: Vec<_> = client::request("GET", "/", Some(&token), fields).chars().map(|c| c as u8).collect();
    assert_eq!(client::exchange(house.gate.addr(), bytes).await.status, 200);
    let received = house.origin.only();
    assert_eq!(received.headers_named("x-b"), ["1", "3", "4"]);
    assert_eq!(received.header("x-empty"), Some(""));
    assert_eq!(received.header("accept"), Some("text/html;q=0.5, */*"));
    assert_eq!(received.header("cookie"), Some("a=b; c"));
    assert_eq!(received.header("x-latin"), Some("\u{e9}"), "a byte is a byte");
    assert_eq!(received.header("x-tab"), Some("a\tb"));
    let first = |name: &str| received.names().iter().position(|found| *found == name).unwrap();
    assert!(first("x-b") < first("x-a") && first("x-a") < first("accept"), "{:?}", received.names());
    assert!(received.names().iter().all(|name| *name == name.to_ascii_lowercase()), "{:?}", received.names());
}

#[tokio::test]
async fn one_connection_carries_many_requests_both_ways() {
    let house = House::start(&["--workers", "1"]).await;
    let token = house.issuer.token().sign();
    let mut client = Client::connect(house.gate.addr()).await;
    for number in 0..5 {
        client.send(client::request("GET", &format!("/{number}"), Some(&token), "")).await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("connection")), (200, None));
    }
    let targets: Vec<_> = house.origin.received().into_iter().map(|received| received.target).collect();
    assert_eq!(targets, ["/0", "/1", "/2", "/3", "/4"]);
    assert_eq!(house.origin.opened(), 1, "the connection to the origin is used again");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    for number in 0..3 {
        house.origin.reply_at(&format!("/{number}"), Reply::ok(&format!("answer {number}")));
    }
    let all: String = (0..3).map(|number| client::request("GET", &format!("/{number}"), Some(&token), "")).collect();
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(all).await;
    for number in 0..3 {
        assert_eq!(client.response().await.text(), format!("answer {number}"));
    }
}

#[tokio::test]
async fn a_token_is_asked_for_on_every_request_of_a_connection() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let mut client = Client::connect(house.gate.addr()).await;
    for (token, status) in [(Some(&*token), 200), (None, 401), (Some(&*token), 200), (Some("x"), 401)] {
        client.send(client::request("GET", "/", token, "")).await;
        assert_eq!(client.response().await.status, status);
    }
    assert_eq!(house.origin.begun(), 2);
}

#[tokio::test]
async fn a_client_of_http_1_0_is_served_and_its_connection_closed() {
    let house = House::start(&[]).await;
    house.origin.reply(Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
    let token = house.issuer.token().sign();
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(format!("GET / HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    let response = client.response().await;
    assert_eq!((&*response.version, response.status, &*response.text()), ("HTTP/1.0", 200, "abc"));
    assert_eq!(response.header("transfer-encoding"), None, "HTTP/1.0 has no chunks: {}", response.head);
    assert!(client.is_closed().await);
    // RFC 9112 §3.2: the origin speaks HTTP/1.1 and has to be named.
    assert_eq!(house.origin.only().header("host"), Some(&*house.origin.addr().to_string()));
}

#[tokio::test]
async fn connect_and_trace_are_not_proxied() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    for (method, target) in [("CONNECT", "example.com:443"), ("TRACE", "/")] {
        let response = client::exchange(house.gate.addr(), client::request(method, target, Some(&token), "")).await;
        assert_eq!((response.status, &*response.denial().reason), (405, "method_refused"), "{method}");
        let allow = response.header("allow").unwrap();
        assert!(allow.contains("GET") && !allow.contains(method), "{allow}");
    }
    assert_eq!(house.origin.begun(), 0);
}

#[tokio::test]
async fn a_request_id_is_kept_or_made_and_told() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let cases = [
        ("X-Request-Id: abc-123\r\n", Some("abc-123")),
        ("", None),
        ("X-Request-Id:\r\n", None),
        ("X-Request-Id: a\r\nX-Request-Id: b\r\n", None),
        ("X-Request-Id: a b\"\\\r\n", None),
    ];
    for (fields, kept) in cases {
        let passed = client::exchange(house.gate.addr(), client::request("GET", "/", Some(&token), fields)).await;
        assert_eq!(passed.status, 200);
        let sent = house.origin.last().header("x-request-id").unwrap().to_owned();
        let refused = client::exchange(house.gate.addr(), client::request("GET", "/", None, fields)).await;
        let told = refused.header("x-request-id").unwrap().to_owned();
        assert_eq!(refused.denial().json["request_id"], told);
        match kept {
            Some(kept) => assert_eq!((&*sent, &*told), (kept, kept)),
            None => assert!(sent.len() >= 16 && told.len() >= 16 && sent != told, "{fields}: {sent}, {told}"),
        }
    }
}
