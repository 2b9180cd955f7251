//! Names that some origin reads as one of ours, or as one that frames or routes: CGI (RFC 3875 §4.1.18), WSGI and PHP fold
//! what is no letter or digit to `_`.

use super::Caller;
use crate::support::{Client, House, client};

type Case = (&'static str, &'static str, &'static str, Fate);

/// What becomes of a field of this name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// The request passes without it.
    Removed,
    /// The request is refused.
    Refused,
    /// It is nobody's, and passes.
    Passes,
}

use Fate::{Passes, Refused, Removed};

const CASES: &[Case] = &[
    ("ours in small letters", "CVE-2026-33433", "x-jwt-claims", Removed),
    ("ours in capitals", "CVE-2026-33433", "X-JWT-CLAIMS", Removed),
    ("ours with underscores", "CVE-2025-64484", "X_JWT_Claims", Removed),
    ("ours with one underscore", "CVE-2026-54763", "X-JWT_Claims", Removed),
    ("ours with dots", "CVE-2026-88011", "X.JWT.Claims", Removed),
    ("ours with a dot and an underscore", "CVE-2026-88011", "X.JWT_Claims", Removed),
    ("ours with two hyphens", "GHSA-f59h-q822-g45g", "X--JWT-Claims", Removed),
    ("ours with a hyphen behind", "GHSA-f59h-q822-g45g", "X-JWT-Claims-", Removed),
    ("ours with an underscore before", "GHSA-f59h-q822-g45g", "_X_JWT_Claims", Removed),
    ("ours with an asterisk", "RFC 9110 §5.6.2", "X*JWT*Claims", Removed),
    ("ours with a plus", "RFC 9110 §5.6.2", "X+JWT+Claims", Removed),
    ("ours with a tilde", "RFC 9110 §5.6.2", "X~JWT~Claims", Removed),
    ("ours with a bar", "RFC 9110 §5.6.2", "X|JWT|Claims", Removed),
    ("ours with a backquote", "RFC 9110 §5.6.2", "X`JWT`Claims", Removed),
    ("ours with a caret", "RFC 9110 §5.6.2", "X^JWT^Claims", Removed),
    ("ours with a dollar sign", "RFC 9110 §5.6.2", "X$JWT$Claims", Removed),
    ("ours with a percent sign", "RFC 9110 §5.6.2", "X%JWT%Claims", Removed),
    ("ours with an ampersand", "RFC 9110 §5.6.2", "X&JWT&Claims", Removed),
    ("ours with a number sign", "RFC 9110 §5.6.2", "X#JWT#Claims", Removed),
    ("the family of ours", "design §6", "X-JWT-Anything", Removed),
    ("the family of ours with underscores", "design §6", "X_Jwt_Sub", Removed),
    ("the prefix alone", "design §6", "X-JWT", Removed),
    ("a claim's header", "CVE-2026-44087", "X-User", Removed),
    ("a claim's header with an underscore", "CVE-2026-39998", "X_User", Removed),
    ("a claim's header with a dot", "CVE-2026-88011", "x.user", Removed),
    ("a claim's header of a claim that is not there", "GHSA-7r4p-vjf4-gxv4", "X-Absent", Removed),
    ("the same with an underscore", "GHSA-7r4p-vjf4-gxv4", "X_Absent", Removed),
    ("the host before", "CVE-2024-21498", "X_Forwarded_Host", Removed),
    ("the protocol before", "CVE-2026-39858", "X_Forwarded_Proto", Removed),
    ("the port before", "CVE-2026-54764", "X-Forwarded-Port", Removed),
    ("the prefix before", "CVE-2026-35051", "X-Forwarded-Prefix", Removed),
    ("the address before", "CVE-2024-21494", "X.Forwarded.For", Removed),
    ("the certificate before", "design §6", "X-Forwarded-Client-Cert", Removed),
    ("the URL before", "CVE-2018-14773", "X-Original-URL", Removed),
    ("the URL before, rewritten", "CVE-2018-14773", "X_Rewrite_Url", Removed),
    ("Forwarded with a dot", "RFC 7239 §4", "Forwarded.", Removed),
    ("httpoxy", "CVE-2016-5385", "Proxy", Removed),
    ("httpoxy with an underscore", "CVE-2016-5385", "Proxy_", Removed),
    ("the request's own name, spelt otherwise", "CWE-117", "X_Request_Id", Removed),
    ("the upgrade's settings", "RFC 9113 §3.1", "HTTP2-Settings", Removed),
    ("the credentials of a proxy", "RFC 9110 §11.7.2", "Proxy-Authorization", Removed),
    ("the token with an underscore", "CVE-2026-88011", "Authorization_", Refused),
    ("the length with an underscore", "CWE-444", "Content_Length", Refused),
    ("the length with a dot", "CWE-444", "Content.Length", Refused),
    ("the type with an underscore", "CWE-444", "Content_Type", Refused),
    ("the coding with a hyphen more", "CWE-444", "Transfer--Encoding", Refused),
    ("the coding with a bar", "CWE-444", "Transfer|Encoding", Refused),
    ("the connection with a tilde", "CWE-444", "Connection~", Refused),
    ("the upgrade with an underscore", "CWE-444", "_Upgrade", Refused),
    ("the cookie with a dot", "CWE-444", "Cookie.", Refused),
    ("the expectation with an exclamation mark", "CWE-444", "Expect!", Refused),
    ("the host with a plus", "CWE-444", "+Host", Refused),
    ("a longer name", "design §6", "X-JWTs", Passes),
    ("a name within another", "design §6", "My-X-JWT-Claims", Passes),
    ("a name without hyphens", "design §6", "XJWTClaims", Passes),
    ("a claim's header with a letter more", "design §6", "X-Users", Passes),
    ("anybody's", "RFC 9110 §5.1", "X-Custom", Passes),
];

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    CASES.iter().map(|(name, source, ..)| (*name, *source)).collect()
}

const FLAGS: [&str; 6] =
    ["--claim-header", "sub=X-User", "--claim-header", "absent=X-Absent", "--skip-auth-route", "/public"];

/// The same field in every place where one can be overlooked: with a token, without one where none is asked for, where
/// the client waits to be asked for the body, and named in `Connection`.
#[tokio::test]
async fn a_forged_field_never_arrives_wherever_it_stands() {
    let house = House::start(&FLAGS).await;
    let token = house.issuer.token().sign();
    for (name, source, field, fate) in CASES {
        let forged = format!("{field}: forged\r\n");
        let expecting = format!("{forged}Expect: 100-continue\r\nContent-Length: 0\r\n");
        let nominated = format!("Connection: X-JWT-Claims, X-User\r\n{forged}");
        let places = [
            ("with a token", "GET", "/", Some(&*token), &forged),
            ("on a public route", "GET", "/public", None, &forged),
            ("twice", "GET", "/", Some(&*token), &forged.repeat(2)),
            ("before a body", "POST", "/", Some(&*token), &expecting),
            ("beside Connection", "GET", "/", Some(&*token), &nominated),
        ];
        for (place, method, target, token, fields) in places {
            let before = house.origin.begun();
            let mut client = Client::connect(house.gate.addr()).await;
            client.send(client::request(method, target, token, fields)).await;
            let response = client.response().await;
            let why = format!("{name} ({source}), {place}");
            if *fate == Refused {
                assert_eq!(response.denial().reason, "ambiguous_request", "{why}");
                assert_eq!(house.origin.begun(), before, "{why}");
                continue;
            }
            assert_eq!(response.status, 200, "{why}");
            let received = house.origin.last();
            let forged = received.headers.iter().filter(|(_, value)| value == "forged").count();
            let passing = if place == "twice" { 2 } else { 1 };
            assert_eq!(forged, if *fate == Passes { passing } else { 0 }, "{why}: {}", received.head);
            assert_eq!(received.header("x-user"), token.map(|_| "alice"), "{why}");
        }
    }
}

/// RFC 9110 §7.6.1: what `Connection` names ends at the hop. It must not end ours.
#[tokio::test]
async fn no_connection_option_removes_what_the_gate_says() {
    let house = House::start(&FLAGS).await;
    let token = house.issuer.token().sign();
    let options = ["x-jwt-claims", "X-JWT-Claims", "x-user", "x-forwarded-for", "via", "host", "x-request-id", "*"];
    for option in options {
        let fields = format!("Connection: {option}\r\n");
        let response = client::exchange(house.gate.addr(), client::request("GET", "/", Some(&token), &fields)).await;
        assert_eq!(response.status, 200, "{option}");
        let received = house.origin.last();
        for ours in ["x-jwt-claims", "x-user", "x-forwarded-for", "via", "host", "x-request-id"] {
            assert!(received.header(ours).is_some(), "Connection: {option} removed {ours}: {}", received.head);
        }
    }
    assert_eq!(Caller::new(house.gate.addr()).verdict(&token).await, "passed");
}
