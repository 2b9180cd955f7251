//! What hostile or unlucky peers do, and what it must not cost.

use crate::support::{Client, House, Reply, client};

const OPEN: [&str; 2] = ["--skip-auth-route", "/*"];

#[tokio::test]
async fn a_request_behind_a_body_that_was_answered_early_is_answered_too() {
    let house = House::start(&OPEN).await;
    house.origin.reply_at("/early", Reply::early("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly"));
    let bodies = [
        ("Content-Length: 20", "0123456789", "0123456789"),
        ("Transfer-Encoding: chunked", "14\r\n0123456789", "0123456789\r\n0\r\n\r\n"),
    ];
    for (framing, half, rest) in bodies {
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(format!("POST /early HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n{half}")).await;
        assert_eq!(client.response().await.text(), "early", "{framing}");
        client.send(format!("{rest}{}", client::request("GET", "/next", None, ""))).await;
        assert_eq!(client.response().await.text(), "ok", "{framing}");
        let received = house.origin.received();
        let [.., early, next] = &received[..] else { panic!("two requests: {received:#?}") };
        assert_eq!((&*early.body, &*next.target), (b"01234567890123456789".as_slice(), "/next"), "{framing}");
    }
}
