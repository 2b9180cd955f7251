//! Trailers of a request (RFC 9110 §6.5) that would be a header to whoever merges them.

use crate::support::{Client, House, client};

type Case = (&'static str, &'static str, &'static str, bool);

/// The name, the source, the trailer's name, and whether it arrives.
const CASES: &[Case] = &[
    ("anybody's", "RFC 9110 §6.5.1", "X-Checksum", true),
    ("ours", "CVE-2025-64484", "X-JWT-Claims", false),
    ("ours with underscores", "CVE-2025-64484", "X_JWT_Claims", false),
    ("ours with dots", "CVE-2026-88011", "x.jwt.claims", false),
    ("the family of ours", "design §6", "X-JWT-Sub", false),
    ("a claim's header", "CVE-2026-44087", "X-User", false),
    ("a claim's header with an underscore", "CVE-2026-44087", "X_User", false),
    ("the token", "RFC 9110 §6.5.1", "Authorization", false),
    ("the token with an underscore", "RFC 9110 §6.5.1", "Authorization_", false),
    ("a length", "RFC 9110 §6.5.1", "Content-Length", false),
    ("a length with an underscore", "RFC 9110 §6.5.1", "Content_Length", false),
    ("a coding", "RFC 9110 §6.5.1", "Transfer-Encoding", false),
    ("a type", "RFC 9110 §6.5.1", "Content-Type", false),
    ("a host", "RFC 9110 §6.5.1", "Host", false),
    ("a cookie", "RFC 9110 §6.5.1", "Cookie", false),
    ("a connection option", "RFC 9110 §6.5.1", "Connection", false),
    ("an upgrade", "RFC 9110 §6.5.1", "Upgrade", false),
    ("an expectation", "RFC 9110 §6.5.1", "Expect", false),
    ("the address before", "CVE-2024-21494", "X-Forwarded-For", false),
    ("the protocol before with underscores", "CVE-2026-39858", "X_Forwarded_Proto", false),
    ("the URL before", "CVE-2018-14773", "X-Original-URL", false),
    ("another method", "CWE-650", "X-HTTP-Method-Override", false),
    ("another method with underscores", "CWE-650", "X_HTTP_Method", false),
    ("an announcement", "RFC 9110 §6.6.2", "Trailer", false),
];

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    CASES.iter().map(|(name, source, ..)| (*name, *source)).collect()
}

#[tokio::test]
async fn no_trailer_speaks_for_the_gate_or_about_the_message() {
    let house = House::start(&["--claim-header", "sub=X-User"]).await;
    let token = house.issuer.token().sign();
    for (name, source, trailer, passes) in CASES {
        for announcement in [format!("Trailer: {trailer}\r\n"), "Trailer: X-Checksum\r\n".to_owned(), String::new()] {
            let mut client = Client::connect(house.gate.addr()).await;
            let head =
                client::request("POST", "/", Some(&token), &format!("{announcement}Transfer-Encoding: chunked\r\n"));
            client.send(format!("{head}2\r\nok\r\n0\r\n{trailer}: forged\r\n\r\n")).await;
            assert_eq!(client.response().await.status, 200, "{name} ({source})");
            let received = house.origin.last();
            let has_arrived = received.trailers.iter().any(|(_, value)| value == "forged");
            let is_announced = announcement.contains(trailer);
            assert_eq!(has_arrived, *passes && is_announced, "{name} ({source}), {announcement:?}: {received:?}");
            let announced = received.header("trailer").unwrap_or_default();
            assert!(*passes || !announced.eq_ignore_ascii_case(trailer), "{name} ({source}): {announced}");
            assert_eq!((received.header("x-user"), &*received.body), (Some("alice"), &b"ok"[..]), "{name} ({source})");
        }
    }
}
