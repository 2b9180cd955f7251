//! Several requests in one go: each is judged by itself, in its order, and nothing is read behind one that is not sound.

use crate::support::{Client, House};

/// The name, the source, the bytes (`$T` is a good token), what is answered in order, and the targets that the origin sees.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const CASES: &[Case] = &[
    (
        "two sound requests",
        "RFC 9112 §9.3.2",
        "GET /1 HTTP/1.1\r\nHost: x\r\n$T\r\nGET /2 HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["200", "200"],
        &["/1", "/2"],
    ),
    (
        "a token is for its own request only",
        "CWE-287",
        "GET /1 HTTP/1.1\r\nHost: x\r\n$T\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n",
        &["200", "token_missing"],
        &["/1"],
    ),
    (
        "a refusal without a body leaves the next one alone",
        "RFC 9112 §9.3.2",
        "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["token_missing", "200"],
        &["/2"],
    ),
    (
        "the body of a refused request is no request",
        "smuggling: CL.0",
        "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["token_missing", "close"],
        &[],
    ),
    (
        "the whole body of a refused request is no request either",
        "smuggling: CL.0",
        "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\nGET /smuggled HTTP/GET /2 HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["token_missing", "close"],
        &[],
    ),
    (
        "the chunks of a refused request are no request",
        "smuggling: TE.0",
        "POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["token_missing", "close"],
        &[],
    ),
    (
        "a body that GET has is its own",
        "smuggling: 0.CL",
        "GET /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 37\r\n$T\r\nGET /smuggled HTTP/1.1\r\nHost: xxx\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["200", "200"],
        &["/1", "/2"],
    ),
    (
        "nothing is read behind an ambiguous head",
        "smuggling: CL.TE",
        "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n$T\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["ambiguous_request", "close"],
        &[],
    ),
    (
        "what is before an ambiguous head is answered first",
        "RFC 9112 §9.3.2",
        "GET /1 HTTP/1.1\r\nHost: x\r\n$T\r\nGET /2 HTTP/1.1\r\nHost: x\r\nHost: y\r\n$T\r\nGET /3 HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["200", "ambiguous_request", "close"],
        &["/1"],
    ),
    (
        "nothing is read behind Connection: close",
        "RFC 9112 §9.6",
        "GET /1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n$T\r\nGET /2 HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["200", "close"],
        &["/1"],
    ),
    (
        "nothing is read behind HTTP/1.0",
        "RFC 9112 §9.3",
        "GET /1 HTTP/1.0\r\nHost: x\r\n$T\r\nGET /2 HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["200", "close"],
        &["/1"],
    ),
    (
        "an upgrade to HTTP/2 is not granted, and what follows is HTTP/1.1",
        "RFC 9113 §3.1",
        "GET /1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n$T\r\nGET /2 HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["200", "200"],
        &["/1", "/2"],
    ),
    (
        "an upgrade to HTTP/2, and its preface behind it",
        "RFC 9113 §3.4",
        "GET /1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n$T\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &["200", "malformed_request", "close"],
        &["/1"],
    ),
    (
        "an upgrade without a token",
        "RFC 9110 §7.8",
        "GET /1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n",
        &["token_missing", "token_missing"],
        &[],
    ),
    (
        "a tunnel is refused, and what follows is a request",
        "RFC 9110 §9.3.6",
        "CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80\r\n$T\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n",
        &["method_refused", "token_missing"],
        &[],
    ),
    (
        "an expectation that is not waited for",
        "RFC 9110 §10.1.1",
        "POST /1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n$T\r\nokGET /2 HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["200", "200"],
        &["/1", "/2"],
    ),
    (
        "an expectation and no token",
        "smuggling: Expect",
        "POST /1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 37\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["token_missing", "close"],
        &[],
    ),
    (
        "empty lines between requests",
        "RFC 9112 §2.2",
        "GET /1 HTTP/1.1\r\nHost: x\r\n$T\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["200", "200"],
        &["/1", "/2"],
    ),
    (
        "a surplus byte behind a body",
        "smuggling: CL.0",
        "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n$T\r\nokXGET /2 HTTP/1.1\r\nHost: x\r\n$T\r\n",
        &["200", "200"],
        &["/1", "/2"],
    ),
];

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    CASES.iter().map(|(name, source, ..)| (*name, *source)).collect()
}

#[tokio::test]
async fn each_request_of_a_pipeline_is_judged_by_itself() {
    let house = House::start(&[]).await;
    let token = format!("Authorization: Bearer {}\r\n", house.issuer.token().sign());
    for (name, source, template, answers, targets) in CASES {
        let before = house.origin.received().len();
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(template.replace("$T", &token)).await;
        for answer in *answers {
            match *answer {
                "close" => assert!(client.is_closed().await, "{name} ({source}): something follows"),
                "200" => assert_eq!(client.response().await.status, 200, "{name} ({source})"),
                reason => assert_eq!(client.response().await.denial().reason, reason, "{name} ({source})"),
            }
        }
        let received = house.origin.received();
        let seen: Vec<_> = received[before..].iter().map(|received| &*received.target).collect();
        assert_eq!(seen, *targets, "{name} ({source})");
        for received in &received[before..] {
            for field in ["upgrade", "http2-settings", "expect"] {
                assert_eq!(received.header(field), None, "{name} ({source}): {}", received.head);
            }
        }
    }
}
