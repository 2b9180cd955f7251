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

/// The name, the source, the target and fields of a GET on a route that is public for GET alone.
type Override = (&'static str, &'static str, &'static str, &'static str);

/// What some framework takes another method from.
const OVERRIDES: &[Override] = &[
    ("Rails, Spring and Symfony", "CWE-650", "/get-only", "X-HTTP-Method-Override: DELETE"),
    ("OData", "CWE-650", "/get-only", "X-HTTP-Method: DELETE"),
    ("Express", "CWE-650", "/get-only", "X-Method-Override: DELETE"),
    ("the same method", "CWE-650", "/get-only", "X-HTTP-Method-Override: GET"),
    ("without a value", "CWE-650", "/get-only", "X-HTTP-Method-Override:"),
    ("in small letters with underscores", "CVE-2025-64484", "/get-only", "x_http_method_override: DELETE"),
    ("with dots", "CVE-2026-88011", "/get-only", "X.HTTP.Method.Override: DELETE"),
    ("with a dash more", "CVE-2026-88011", "/get-only", "X-HTTP--Method-Override-: DELETE"),
    ("a prefix before it", "CWE-650", "/get-only", "HTTP-X-HTTP-Method-Override: DELETE"),
    ("that of a tunnel", "CWE-650", "/get-only", "X-Tunnel-Method: DELETE"),
    ("that before a rewrite", "CWE-650", "/get-only", "X-Original-Method: DELETE"),
    ("in the query", "CWE-650", "/get-only?_method=DELETE", "A: b"),
    ("in the query, last and without a value", "CWE-650", "/get-only?a=b&_method", "A: b"),
    ("in the query behind a semicolon", "CWE-650", "/get-only?a=b;_METHOD=DELETE", "A: b"),
    ("in the query, escaped", "RFC 3986 §2.4", "/get-only?a&%5f%6dethod=DELETE", "A: b"),
    ("in the query, as PHP mends names", "CWE-650", "/get-only?.method=DELETE", "A: b"),
    ("in the query, as PHP reads lists", "CWE-650", "/get-only?_method%5B%5D=DELETE", "A: b"),
    ("a field in the query, as ASP.NET MVC", "CWE-650", "/get-only?X-HTTP-Method-Override=DELETE", "A: b"),
];

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    let cases = CASES.iter().map(|(name, source, ..)| (*name, *source));
    cases.chain(OVERRIDES.iter().map(|(name, source, ..)| (*name, *source))).collect()
}

#[tokio::test]
async fn a_route_for_one_method_is_closed_to_a_request_that_overrides_its_method() {
    let house = House::start(&["--skip-auth-route", "GET=/get-only,/public"]).await;
    let token = house.issuer.token().sign();
    for (name, source, target, field) in OVERRIDES {
        let ask = async |target: &str, token| {
            let fields = format!("{field}\r\nConnection: close\r\n");
            client::exchange(house.gate.addr(), client::request("GET", target, token, &fields)).await
        };
        let refused = ask(target, None).await;
        assert_eq!(refused.status, 401, "{name} ({source})");
        assert_eq!(refused.denial().reason, "token_missing", "{name} ({source})");
        assert_eq!(ask(target, Some(&token)).await.status, 200, "{name} ({source}): with a token");
        let anywhere = target.replace("get-only", "public");
        assert_eq!(ask(&anywhere, None).await.status, 200, "{name} ({source}): a route for all methods");
    }
    for target in
        ["/get-only?method=DELETE", "/get-only?%6dethod", "/get-only?a=_method&b=?_method", "/get-only?amethod"]
    {
        assert_eq!(client::get(house.gate.addr(), target, None).await.status, 200, "{target}");
    }
}

#[tokio::test]
async fn a_preflight_that_overrides_its_method_is_none() {
    let house = House::start(&["--skip-auth-preflight"]).await;
    let preflight = "Origin: https://x\r\nAccess-Control-Request-Method: PUT\r\nConnection: close\r\n";
    for (target, field, status) in [
        ("/a", "", 200),
        ("/a", "X-HTTP-Method-Override: PUT\r\n", 401),
        ("/a?_method=PUT", "", 401),
        ("/a", "Access-Control-Request-Headers: x-http-method-override\r\n", 200),
    ] {
        let fields = format!("{preflight}{field}");
        let response = client::exchange(house.gate.addr(), client::request("OPTIONS", target, None, &fields)).await;
        assert_eq!(response.status, status, "{target} {field:?}");
    }
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
