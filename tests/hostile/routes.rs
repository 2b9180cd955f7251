//! What a client says to be let through without a token. A route is opened by its flag, method and path alone.

use crate::support::{Client, House, client};

/// The name, the source, the method, the target, and fields.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    ("a probe's name", "GHSA-5hvv-m4w4-gf6v", "GET", "/", "User-Agent: kube-probe/1.31\r\n"),
    ("a balancer's name", "GHSA-5hvv-m4w4-gf6v", "GET", "/", "User-Agent: ELB-HealthChecker/2.0\r\n"),
    ("the URI before", "CVE-2026-40575", "GET", "/", "X-Forwarded-Uri: /public\r\n"),
    ("the URL before", "CVE-2018-14773", "GET", "/", "X-Original-URL: /public\r\n"),
    ("the URL before, rewritten", "CVE-2018-14773", "GET", "/", "X-Rewrite-URL: /public\r\n"),
    ("the URI before, for nginx", "design §6", "GET", "/", "X-Original-URI: /public\r\n"),
    ("the method before", "CWE-650", "POST", "/get-only", "X-Forwarded-Method: GET\r\nContent-Length: 0\r\n"),
    ("another method", "CWE-650", "POST", "/get-only", "X-HTTP-Method-Override: GET\r\nContent-Length: 0\r\n"),
    ("another method in the query", "CWE-650", "POST", "/get-only?_method=GET", "Content-Length: 0\r\n"),
    ("a method in small letters", "RFC 9110 §9.1", "get", "/get-only", ""),
    ("HEAD is not GET", "RFC 9110 §9.3.2", "HEAD", "/get-only", "Connection: close\r\n"),
    ("the route in the query", "GHSA-7rh7-c77v-6434", "GET", "/?/public", ""),
    ("the route behind another path", "GHSA-7rh7-c77v-6434", "GET", "/private/public", ""),
    ("the route as a part of a name", "GHSA-7rh7-c77v-6434", "GET", "/publicly", ""),
    ("the route in capitals", "CVE-2020-14359", "GET", "/PUBLIC", ""),
    ("a slash behind", "RFC 3986 §6.2.3", "GET", "/public/", ""),
    ("a slash more before", "CVE-2021-29492", "GET", "//public", ""),
    ("up and in again", "CVE-2026-42274", "GET", "/open/../private", ""),
    ("up, escaped", "CVE-2026-42274", "GET", "/open/%2e%2e/private", ""),
    ("up, half escaped", "CVE-2026-42274", "GET", "/open/.%2E/private", ""),
    ("up, escaped twice", "RFC 3986 §2.4", "GET", "/open/%252e%252e/private", ""),
    ("an escaped slash", "CVE-2026-42272", "GET", "/open%2f..%2Fprivate", ""),
    ("an escaped backslash", "CVE-2021-29492", "GET", "/open/..%5Cprivate", ""),
    ("a parameter of a segment", "CVE-2020-1957", "GET", "/open/..;/private", ""),
    ("an escaped NUL", "CWE-158", "GET", "/open/%00/../private", ""),
    ("a letter of the route escaped", "CVE-2026-27587", "GET", "/%70ublic", ""),
    ("the route as an authority", "RFC 3986 §4.2", "GET", "//public/private", ""),
    ("another host in the target", "RFC 9112 §3.2.2", "GET", "http://public/private", ""),
    (
        "a preflight that is none",
        "RFC 9110 §9.3.7",
        "GET",
        "/",
        "Origin: https://x\r\nAccess-Control-Request-Method: GET\r\n",
    ),
    (
        "a preflight where none may pass",
        "RFC 9110 §9.3.7",
        "OPTIONS",
        "/",
        "Origin: https://x\r\nAccess-Control-Request-Method: GET\r\n",
    ),
    ("the identity itself", "CVE-2026-44087", "GET", "/", "X-JWT-Claims: eyJzdWIiOiJhZG1pbiJ9\r\n"),
    (
        "a user of the proxy before",
        "CVE-2026-44087",
        "GET",
        "/",
        "X-Forwarded-User: admin\r\nX-Auth-Request-User: admin\r\n",
    ),
    ("this machine's own address", "CVE-2024-21494", "GET", "/", "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: ::1\r\n"),
    ("the token elsewhere", "RFC 6750 §2.3", "GET", "/?access_token=a.b.c", "X-Access-Token: a.b.c\r\n"),
];

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    CASES.iter().map(|(name, source, ..)| (*name, *source)).collect()
}

#[tokio::test]
async fn no_header_opens_a_route() {
    let flags = ["--skip-auth-route", "/public,GET=/get-only,/open/*"];
    let house = House::start(&flags).await;
    for (name, source, method, target, fields) in CASES {
        let mut client = Client::connect(house.gate.addr()).await;
        client.send(client::request(method, target, None, fields)).await;
        if *method == "HEAD" {
            assert_eq!(client.response_head().await.status, 401, "{name} ({source})");
            continue;
        }
        let response = client.response().await;
        assert_eq!((response.status, &*response.denial().reason), (401, "token_missing"), "{name} ({source})");
    }
    assert_eq!(house.origin.begun(), 0);
    for target in ["/public", "/get-only", "/open/a?b=/../c"] {
        assert_eq!(client::get(house.gate.addr(), target, None).await.status, 200, "{target}");
    }
}
