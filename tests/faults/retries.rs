//! What is sent once more, and what is not: a request that the origin may have acted upon is never sent twice.

use crate::support::{Client, House, Reply, client, eventually};

/// One worker, so that there is one pool, and one connection in it that was used once.
async fn house() -> House {
    // Longer than any test takes between two requests.
    let flags = ["--workers", "1", "--skip-auth-route", "/*", "--upstream-idle-timeout", "1m"];
    let house = House::start(&flags).await;
    assert_eq!(client::get(house.gate.addr(), "/", None).await.status, 200);
    house
}

/// A response's status, and its reason when it is the gate's own.
fn told(response: &client::Response) -> (u16, String) {
    (response.status, if response.status == 200 { String::new() } else { response.denial().reason })
}

async fn closes_what_is_pooled(house: &House) {
    eventually("nothing is pooled", async || {
        house.origin.close_idle();
        house.origin.open() == 0
    })
    .await;
}

/// How a connection ends with a request on it and no byte of an answer.
fn silent_ends() -> [Reply; 2] {
    [Reply::raw("").close(), Reply::reset()]
}

#[tokio::test]
async fn a_request_that_changes_nothing_is_sent_again_when_a_pooled_connection_ends_without_a_byte() {
    for method in ["GET", "HEAD", "OPTIONS"] {
        for end in silent_ends() {
            let house = house().await;
            house.origin.reply_next([end]);
            let mut client = Client::connect(house.gate.addr()).await;
            client.send(client::request(method, "/again?a=b", None, "X-One: 1\r\n")).await;
            assert_eq!(client.response_head().await.status, 200, "{method}");
            let received = house.origin.received();
            let [_, lost, again] = &received[..] else { panic!("{method}: once more and no more: {received:#?}") };
            assert_eq!((&lost.head, &*lost.target), (&again.head, "/again?a=b"), "{method}: byte for byte the same");
            assert_eq!(house.origin.opened(), 2, "{method}: on a fresh connection");
        }
    }
}

#[tokio::test]
async fn it_is_sent_again_but_once() {
    for end in silent_ends() {
        let house = house().await;
        house.origin.reply_next([end.clone(), end]);
        let response = client::get(house.gate.addr(), "/", None).await;
        assert_eq!(told(&response), (502, "upstream_unreachable".to_owned()));
        assert_eq!(house.origin.begun(), 3);
    }
}

#[tokio::test]
async fn whatever_may_have_been_acted_upon_is_not_sent_again() {
    let cases = [
        ("POST", "", ""),
        ("PUT", "Content-Length: 2\r\n", "ab"),
        ("PATCH", "Transfer-Encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n"),
        ("DELETE", "", ""),
        // Not even these, with a body: what was read of it is gone.
        ("GET", "Content-Length: 2\r\n", "ab"),
        ("OPTIONS", "Transfer-Encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n"),
    ];
    for (method, fields, body) in cases {
        for end in silent_ends() {
            let house = house().await;
            house.origin.reply_next([end]);
            let request = client::request(method, "/", None, fields) + body;
            let response = client::exchange(house.gate.addr(), request).await;
            assert_eq!(told(&response), (502, "upstream_unreachable".to_owned()), "{method}");
            assert_eq!(house.origin.begun(), 2, "{method}");
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_again_after_a_byte_of_an_answer_or_because_of_time() {
    let begun = [Reply::raw("HTTP/1.1 2").close(), Reply::raw("HTTP/1.1 2").then_reset(), Reply::raw("x\r\n\r\n")];
    for reply in begun {
        let house = house().await;
        house.origin.reply_next([reply]);
        let response = client::get(house.gate.addr(), "/", None).await;
        assert_eq!(told(&response), (502, "upstream_protocol".to_owned()), "an answer had begun");
        assert_eq!(house.origin.begun(), 2);
    }
    let flags = ["--workers", "1", "--skip-auth-route", "/*", "--upstream-timeout", "300ms"];
    let house = House::start(&flags).await;
    assert_eq!(client::get(house.gate.addr(), "/", None).await.status, 200);
    house.origin.reply_next([Reply::never()]);
    assert_eq!(told(&client::get(house.gate.addr(), "/", None).await), (504, "upstream_timeout".to_owned()));
    assert_eq!(house.origin.begun(), 2);
}

#[tokio::test]
async fn a_post_finds_a_fresh_connection_when_the_pooled_one_has_ended() {
    for _ in 0..20 {
        let house = house().await;
        closes_what_is_pooled(&house).await;
        let request = client::request("POST", "/", None, "Content-Length: 2\r\n") + "ab";
        assert_eq!(client::exchange(house.gate.addr(), request).await.status, 200);
        assert_eq!((house.origin.begun(), &*house.origin.last().body), (2, b"ab".as_slice()));
    }
}

#[tokio::test]
async fn a_connection_that_was_idle_for_too_long_is_closed_and_not_used_again() {
    let flags = ["--workers", "1", "--skip-auth-route", "/*", "--upstream-idle-timeout", "100ms"];
    let house = House::start(&flags).await;
    for opened in 1..=3 {
        assert_eq!(client::get(house.gate.addr(), "/", None).await.status, 200);
        assert_eq!(house.origin.opened(), opened);
        // The gate does, for the origin would keep it.
        eventually("it is closed", async || house.origin.open() == 0).await;
    }
}

#[tokio::test]
async fn what_nobody_asked_for_is_taken_for_no_answer() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let house = house().await;
    for surplus in [evil, "x", "\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        // At once with the answer, and when it has been read.
        house.origin.reply_next([Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{surplus}"))]);
        for _ in 0..3 {
            let response = client::get(house.gate.addr(), "/", None).await;
            assert_eq!((response.status, &*response.text()), (200, "ok"), "{surplus:?}");
        }
    }
    let (written, opened) = (house.origin.written(), house.origin.opened());
    house.origin.reply_next([Reply::ok("ok").hold().then_pattern(7)]);
    assert_eq!(client::get(house.gate.addr(), "/", None).await.text(), "ok");
    house.origin.release();
    eventually("the surplus is on its way", async || house.origin.written() == written + 7).await;
    assert_eq!(client::get(house.gate.addr(), "/", None).await.text(), "ok");
    assert_eq!(house.origin.opened(), opened + 1, "with something to be read at check-out, it is not used again");
}
