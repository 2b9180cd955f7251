//! What goes through, and what is refused.

use crate::support::http2::{Frames, Http2, PREFACE, USUAL, fields_block, frame, get, next, post, reason, whole};
use crate::support::origin::{is_pattern, pattern};
use crate::support::{Client, House, Reply, client, eventually, patiently};
use bytes::Bytes;
use http::Request;

#[tokio::test]
async fn a_request_and_its_answer_go_through() {
    let house = House::start(&["--claim-header", "sub=X-User"]).await;
    house.origin.reply(Reply::new(201, &[("X-Origin", "it"), ("Connection", "x-hop"), ("X-Hop", "1")], "hello"));
    let mut client = Http2::connect(house.gate.addr()).await;
    let token = house.issuer.token().sign();
    let mut request = get("/path?query", Some(&token));
    for (name, value) in [("cookie", "a=1"), ("x-user", "mallory"), ("cookie", "b=2"), ("te", "trailers")] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let response = client.exchange(request).await;
    assert_eq!((response.status, response.text().as_str(), response.header("x-origin")), (201, "hello", Some("it")));
    assert_eq!((response.header("connection"), response.header("x-hop")), (None, None));
    let seen = house.origin.only();
    assert_eq!((&*seen.method, &*seen.target, &*seen.version), ("GET", "/path?query", "HTTP/1.1"));
    // RFC 9113 §8.2.3, §8.3.1.
    for (name, value) in [("cookie", "a=1; b=2"), ("host", "gate.test"), ("via", "2.0 claimgate"), ("x-user", "alice")]
    {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!((seen.header("te"), seen.header("transfer-encoding")), (Some("trailers"), None));
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let house = House::start(&[]).await;
    house.origin.reply_at("/held", Reply::ok("late").held());
    let mut client = Http2::connect(house.gate.addr()).await;
    let token = house.issuer.token().sign();
    let (held, _) = client.begin(get("/held", Some(&token)), true).await;
    for _ in 0..3 {
        let mut all = Vec::new();
        for number in 0..50 {
            all.push(client.begin(get(&format!("/{number}"), Some(&token)), true).await.0);
        }
        for response in all {
            assert_eq!(whole(response).await.unwrap().text(), "ok");
        }
    }
    house.origin.release();
    assert_eq!(whole(held).await.unwrap().text(), "late");
}

#[tokio::test]
async fn bodies_go_both_ways_unchanged() {
    const PIECE: usize = 65_521;
    const LENGTH: u64 = PIECE as u64 * 46;
    let house = House::start(&[]).await;
    house.origin.reply(Reply::pattern(LENGTH));
    let mut client = Http2::connect(house.gate.addr()).await;
    let token = house.issuer.token().sign();
    for length in [None, Some(LENGTH)] {
        let mut request = post("/", Some(&token));
        if let Some(length) = length {
            request.headers_mut().insert("content-length", length.into());
        }
        let (response, mut body) = client.begin(request, false).await;
        let mut rest = Bytes::from(pattern(0, PIECE).repeat(46));
        while !rest.is_empty() {
            body.reserve_capacity(rest.len());
            let room = patiently("room", std::future::poll_fn(|cx| body.poll_capacity(cx))).await.unwrap().unwrap();
            let piece = rest.split_to(room.min(rest.len()));
            body.send_data(piece, rest.is_empty()).unwrap();
        }
        let response = whole(response).await.unwrap();
        assert!(is_pattern(0, &response.body) && response.body.len() as u64 == LENGTH);
        let seen = house.origin.last();
        assert_eq!((seen.is_complete, seen.is_pattern, seen.body_length), (true, true, LENGTH));
        let framing = (seen.header("content-length").map(str::to_owned), seen.header("transfer-encoding"));
        assert_eq!(framing, (length.map(|length| length.to_string()), length.is_none().then_some("chunked")));
    }
}

#[tokio::test]
async fn a_get_with_a_body_of_unknown_length_keeps_it() {
    let house = House::start(&[]).await;
    let mut client = Http2::connect(house.gate.addr()).await;
    let token = house.issuer.token().sign();
    let (response, mut body) = client.begin(get("/", Some(&token)), false).await;
    body.send_data(Bytes::from_static(b"query"), true).unwrap();
    assert_eq!(whole(response).await.unwrap().status, 200);
    let seen = house.origin.only();
    assert_eq!((seen.header("transfer-encoding"), &*seen.body), (Some("chunked"), &b"query"[..]));
}

#[tokio::test]
async fn trailers_go_both_ways_and_forged_ones_do_not() {
    let house = House::start(&[]).await;
    let reply =
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n";
    house.origin.reply(Reply::raw(reply));
    let mut client = Http2::connect(house.gate.addr()).await;
    let mut request = post("/", Some(&house.issuer.token().sign()));
    request.headers_mut().insert("trailer", "x-check, x-jwt-claims".parse().unwrap());
    let (response, mut body) = client.begin(request, false).await;
    body.send_data(Bytes::from_static(b"data"), false).unwrap();
    let trailers = [("x-check", "1"), ("x-jwt-claims", "forged"), ("content-length", "9")];
    let trailers = trailers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    body.send_trailers(trailers.into_iter().collect()).unwrap();
    let response = whole(response).await.unwrap();
    assert_eq!(response.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    let seen = house.origin.only();
    assert_eq!((seen.trailers, &*seen.body), (vec![("x-check".to_owned(), "1".to_owned())], &b"data"[..]));
}

#[tokio::test]
async fn refusals_say_why_and_leave_the_connection() {
    let house = House::start(&[]).await;
    let mut client = Http2::connect(house.gate.addr()).await;
    let good = house.issuer.token().sign();
    let expired = house.issuer.token().expired().sign();
    for (token, expected) in [(None, "token_missing"), (Some(&expired), "expired"), (Some(&good), "passed")] {
        let response = client.exchange(get("/", token.map(String::as_str))).await;
        let told = if response.status == 200 { "passed".to_owned() } else { reason(&response) };
        assert_eq!(told, expected);
        assert_eq!(response.header("connection"), None);
    }
    // One whose body nobody reads, too.
    let (response, _body) = client.begin(post("/", None), false).await;
    assert_eq!(reason(&whole(response).await.unwrap()), "token_missing");
    let trace = Request::builder().method("TRACE").uri("http://gate.test/").body(()).unwrap();
    assert_eq!(reason(&client.exchange(trace).await), "method_refused");
    let connect = Request::connect("gate.test:80").body(()).unwrap();
    assert_eq!(reason(&client.exchange(connect).await), "method_refused");
    assert_eq!(client.exchange(get("/", Some(&good))).await.status, 200);
    assert_eq!(house.origin.received().len(), 2);
}

/// RFC 9113 §8: what the h2 crate refuses resets the stream (`RST_STREAM` is 3), or where it is not even a list of fields
/// ends the connection (GOAWAY is 7); what we refuse is answered (HEADERS is 1).
#[tokio::test]
async fn what_is_no_request_never_reaches_the_origin() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    let with = |field| USUAL.into_iter().chain([field]).collect::<Vec<_>>();
    let replaced =
        |name: &str, value| USUAL.map(|field| if field.0 == name { (field.0, value) } else { field }).to_vec();
    let without = |name: &str| USUAL.into_iter().filter(|field| field.0 != name).collect::<Vec<_>>();
    let cases = [
        ("an upper-case name", with(("X-Upper", "1")), 7),
        ("connection", with(("connection", "close")), 3),
        ("keep-alive", with(("keep-alive", "1")), 3),
        ("proxy-connection", with(("proxy-connection", "close")), 3),
        ("transfer-encoding", with(("transfer-encoding", "chunked")), 3),
        ("upgrade", with(("upgrade", "h2c")), 3),
        ("te other than trailers", with(("te", "gzip")), 3),
        ("a pseudo-header field twice", with((":path", "/two")), 3),
        ("an unknown pseudo-header field", with((":status", "200")), 3),
        ("a pseudo-header field after others", [&[("x", "1")][..], &USUAL].concat(), 3),
        ("no path", without(":path"), 3),
        ("no method", without(":method"), 3),
        ("an empty path", replaced(":path", ""), 3),
        ("a path with a space", replaced(":path", "/a b"), 3),
        ("a path with a line end", replaced(":path", "/a\r\nx: y"), 3),
        ("a value with a line end", with(("x", "a\r\ny: z")), 7),
        ("a value with NUL", with(("x", "a\0")), 7),
        ("a name with a colon", with(("x:y", "a")), 7),
        ("a name with a space", with(("x y", "a")), 7),
        ("a path that is none", replaced(":path", "a"), 3),
        ("two hosts", [with(("host", "a.test")), vec![("host", "a.test")]].concat(), 1),
        ("another host", with(("host", "b.test")), 1),
        ("neither authority nor host", without(":authority"), 1),
        ("user information", replaced(":authority", "u@a.test"), 1),
        ("another scheme", replaced(":scheme", "ftp"), 1),
        ("a path with a backslash", replaced(":path", "/a\\b"), 1),
        ("an alias of a length", with(("content_length", "3")), 1),
        ("a value with white space around it", with(("x", " a ")), 1),
        ("two lengths", [with(("content-length", "0")), vec![("content-length", "0")]].concat(), 1),
    ];
    for (what, fields, expected) in cases {
        let mut client = Frames::connect(house.gate.addr()).await;
        // END_HEADERS and END_STREAM.
        client.send(&frame(1, 0x5, 1, &fields_block(&fields))).await;
        let answer = loop {
            let Some(frame) = client.next().await else { panic!("{what}: closed") };
            if matches!(frame.kind, 1 | 3 | 7) {
                break frame;
            }
        };
        assert_eq!(answer.kind, expected, "{what}: {answer:?}");
        if expected == 7 {
            continue;
        }
        client.send(&frame(1, 0x5, 3, &fields_block(&replaced(":path", "/good")))).await;
        let good = client.next_of(1).await.unwrap_or_else(|| panic!("{what}: no second answer"));
        assert_eq!(good.stream, 3, "{what}");
    }
    let targets: Vec<_> = house.origin.received().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, vec!["/good"; targets.len()]);
}

#[tokio::test]
async fn a_body_of_another_length_than_said_is_the_clients_fault() {
    let house = House::start(&[]).await;
    let mut client = Http2::connect(house.gate.addr()).await;
    let mut request = post("/", Some(&house.issuer.token().sign()));
    request.headers_mut().insert("content-length", 10.into());
    let (response, mut body) = client.begin(request, false).await;
    body.send_data(Bytes::from_static(b"short"), true).unwrap();
    assert!(whole(response).await.is_err());
    eventually("the origin is left alone", async || house.origin.received().iter().all(|seen| !seen.is_complete)).await;
}

/// hyper takes a reset without an error for the end of the body.
#[tokio::test]
async fn a_body_that_is_broken_off_without_an_error_is_not_taken_for_whole() {
    let house = House::start(&[]).await;
    let mut client = Http2::connect(house.gate.addr()).await;
    let token = house.issuer.token().sign();
    let (response, mut body) = client.begin(post("/", Some(&token)), false).await;
    body.send_data(Bytes::from_static(b"half"), false).unwrap();
    house.origin.has_begun(1).await;
    body.send_reset(h2::Reason::NO_ERROR);
    drop(response);
    eventually("the request is cancelled", async || house.origin.abandoned() == 1).await;
    assert!(!house.origin.only().is_complete);
    assert_eq!(client.exchange(get("/", Some(&token))).await.status, 200);
}

#[tokio::test]
async fn a_client_that_resets_its_stream_cancels_the_request() {
    let house = House::start(&[]).await;
    house.origin.reply_at("/never", Reply::never());
    let mut client = Http2::connect(house.gate.addr()).await;
    let token = house.issuer.token().sign();
    let (response, mut body) = client.begin(get("/never", Some(&token)), true).await;
    house.origin.has_begun(1).await;
    body.send_reset(h2::Reason::CANCEL);
    drop(response);
    eventually("the request is cancelled", async || house.origin.abandoned() == 1).await;
    assert_eq!(client.exchange(get("/", Some(&token))).await.status, 200);
}

#[tokio::test]
async fn an_answer_that_the_origin_cuts_is_cut() {
    let house = House::start(&[]).await;
    house.origin.reply(Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").close());
    let mut client = Http2::connect(house.gate.addr()).await;
    let (response, _) = client.begin(get("/", Some(&house.issuer.token().sign())), true).await;
    let mut body = patiently("a head", response).await.unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "half");
    assert!(next(&mut body).await.unwrap().unwrap_err().is_reset());
}

#[tokio::test]
async fn http_1_1_and_http_2_come_to_one_port_in_whatever_pieces() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    let request = frame(1, 0x5, 1, &fields_block(&USUAL));
    for size in [1, 5, 24, 30, 1000] {
        let mut client = Frames::begin(house.gate.addr()).await;
        for piece in [PREFACE, &request].concat().chunks(size) {
            client.send(piece).await;
            tokio::task::yield_now().await;
        }
        let answer = client.next_of(1).await.unwrap();
        // `:status: 200` is the eighth of the static table (RFC 7541, appendix A).
        assert_eq!((answer.stream, answer.payload.first()), (1, Some(&0x88)), "{size}");
    }
    let mut one = Client::connect(house.gate.addr()).await;
    one.send(client::request("GET", "/", None, "")).await;
    assert_eq!(one.response().await.status, 200);
    // It begins like HTTP/2 and is none; or it is, and comes too late.
    let late = format!("{}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", client::request("GET", "/", None, ""));
    for (bytes, answers) in [
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", vec![400]),
        ("PRI * HTTP/1.1\r\n\r\n", vec![400]),
        ("PRI / HTTP/2.0\r\nHost: x\r\n\r\n", vec![400]),
        (&late, vec![200, 400]),
    ] {
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(bytes).await;
        for status in answers {
            assert_eq!(client.response().await.status, status, "{bytes:?}");
        }
        assert!(client.is_closed().await, "{bytes:?}");
    }
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_interim_ones_end_here() {
    let house = House::start(&[]).await;
    let token = house.issuer.token().sign();
    let mut client = Http2::connect(house.gate.addr()).await;
    let head = Request::head("http://gate.test/head").header("authorization", format!("Bearer {token}"));
    house.origin.reply_next([
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        Reply::new(204, &[], ""),
        Reply::new(304, &[("ETag", "\"a\"")], ""),
        Reply::raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ]);
    let response = client.exchange(head.body(()).unwrap()).await;
    assert_eq!((response.status, response.header("content-length"), &*response.body), (200, Some("5"), &b""[..]));
    for (status, body) in [(204, ""), (304, ""), (200, "ok")] {
        let response = client.exchange(get("/", Some(&token))).await;
        assert_eq!((response.status, &*response.text()), (status, body));
    }
}

#[tokio::test]
async fn a_client_that_expects_to_be_told_to_go_on_has_its_request_answered() {
    let house = House::start(&[]).await;
    let mut client = Http2::connect(house.gate.addr()).await;
    let mut request = post("/", Some(&house.issuer.token().sign()));
    request.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let (response, mut body) = client.begin(request.clone(), false).await;
    house.origin.has_begun(1).await;
    body.send_data(Bytes::from_static(b"data"), true).unwrap();
    assert_eq!(whole(response).await.unwrap().status, 200);
    let seen = house.origin.only();
    assert_eq!((seen.header("expect"), &*seen.body), (None, &b"data"[..]));
    request.headers_mut().insert("expect", "else".parse().unwrap());
    assert_eq!(reason(&client.exchange(request).await), "expectation_failed");
}

#[tokio::test]
async fn a_fragment_does_not_reach_rules_or_origin() {
    // The http crate cuts it off before anybody sees it: all see the same path.
    let house = House::start(&["--skip-auth-route", "/open"]).await;
    let mut client = Frames::connect(house.gate.addr()).await;
    for (stream, path) in [(1, "/open#/closed"), (3, "/closed#/open")] {
        let fields = USUAL.map(|field| if field.0 == ":path" { (":path", path) } else { field });
        client.send(&frame(1, 0x5, stream, &fields_block(&fields))).await;
        assert_eq!(client.next_of(1).await.unwrap().stream, stream);
    }
    assert_eq!(house.origin.only().target, "/open");
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_requests() {
    let house = House::start(&[]).await;
    house.origin.reply(Reply::never());
    let mut client = Http2::connect(house.gate.addr()).await;
    let token = house.issuer.token().sign();
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(client.begin(get("/never", Some(&token)), true).await);
    }
    house.origin.has_begun(3).await;
    client.go_away();
    eventually("the requests are cancelled", async || house.origin.abandoned() == 3).await;
}

/// Which HTTP/1.1 has in one field (RFC 9113 §8.2.3).
#[tokio::test]
async fn as_many_cookies_pass_as_over_http_1_1() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    let mut client = Http2::connect(house.gate.addr()).await;
    let cookies: Vec<_> = (0..180).map(|number| format!("cookie-{number}=value")).collect();
    let mut request = get("/", None);
    for cookie in &cookies {
        request.headers_mut().append("cookie", cookie.parse().unwrap());
    }
    assert_eq!(client.exchange(request).await.status, 200);
    assert_eq!(house.origin.only().header("cookie"), Some(&*cookies.join("; ")));
}
