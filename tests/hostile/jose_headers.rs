//! JOSE headers (RFC 7515 §4), each really signed by the issuer over a payload that would pass.

use tokio::task::JoinSet;

use super::Caller;
use crate::support::House;
use crate::support::token::compact;

type Case = (&'static str, &'static str, &'static str, &'static str);

const ALG: &[Case] = &[
    ("the usual", "RFC 7515 §4", r#"{"alg":"ES256","kid":"key-0","typ":"JWT"}"#, "passed"),
    ("alg in small letters", "RFC 7515 §4.1.1", r#"{"alg":"es256","kid":"key-0"}"#, "algorithm_not_allowed"),
    ("alg with a space behind", "RFC 7515 §4.1.1", r#"{"alg":"ES256 ","kid":"key-0"}"#, "algorithm_not_allowed"),
    ("alg with NUL behind", "CWE-158", r#"{"alg":"ES256\u0000","kid":"key-0"}"#, "algorithm_not_allowed"),
    ("alg in full-width letters", "Unicode UTS 39", r#"{"alg":"ＥＳ256","kid":"key-0"}"#, "algorithm_not_allowed"),
    ("alg none, then NUL", "CWE-158", r#"{"alg":"none\u0000","kid":"key-0"}"#, "algorithm_not_allowed"),
    ("alg NonE", "RFC 8725 §3.2", r#"{"alg":"NonE","kid":"key-0"}"#, "algorithm_not_allowed"),
    ("alg none by an escape", "RFC 8259 §7", r#"{"alg":"\u006eone","kid":"key-0"}"#, "algorithm_not_allowed"),
    ("alg ES256 by an escape", "RFC 8259 §7", r#"{"alg":"\u0045S256","kid":"key-0"}"#, "passed"),
    ("an object", "RFC 7515 §4.1.1", r#"{"alg":{"ES256":1},"kid":"key-0"}"#, "malformed_token"),
    ("a list", "RFC 7515 §4.1.1", r#"{"alg":["ES256"],"kid":"key-0"}"#, "malformed_token"),
    ("true", "RFC 7515 §4.1.1", r#"{"alg":true,"kid":"key-0"}"#, "malformed_token"),
    ("a number", "RFC 7515 §4.1.1", r#"{"alg":256,"kid":"key-0"}"#, "malformed_token"),
    ("null", "RFC 7515 §4.1.1", r#"{"alg":null,"kid":"key-0"}"#, "malformed_token"),
    ("Alg only", "RFC 7515 §4", r#"{"Alg":"ES256","kid":"key-0"}"#, "malformed_token"),
    ("ALG none beside alg", "RFC 7515 §4", r#"{"alg":"ES256","ALG":"none","kid":"key-0"}"#, "passed"),
    ("alg none first, then ES256", "RFC 7515 §4", r#"{"alg":"none","alg":"ES256","kid":"key-0"}"#, "malformed_token"),
    ("alg ES256 first, then none", "RFC 7515 §4", r#"{"alg":"ES256","alg":"none","kid":"key-0"}"#, "malformed_token"),
    ("alg twice and alike", "RFC 7515 §4", r#"{"alg":"ES256","kid":"key-0","alg":"ES256"}"#, "malformed_token"),
    ("Bitcoin's curve", "RFC 8812 §3.2", r#"{"alg":"ES256K","kid":"key-0"}"#, "algorithm_not_allowed"),
    ("another hash", "RFC 7518 §3.4", r#"{"alg":"ES384","kid":"key-0"}"#, "algorithm_not_allowed"),
    ("another kind of key", "CVE-2026-39999", r#"{"alg":"RS256","kid":"key-0"}"#, "algorithm_not_allowed"),
    ("EdDSA for an EC key", "RFC 8725 §3.1", r#"{"alg":"EdDSA","kid":"key-0"}"#, "algorithm_not_allowed"),
    ("HS256", "CVE-2015-9235", r#"{"alg":"HS256","kid":"key-0"}"#, "algorithm_not_allowed"),
    (
        "HS256, kid of a file that is empty",
        "CVE-2026-44699",
        r#"{"alg":"HS256","kid":"/dev/null"}"#,
        "algorithm_not_allowed",
    ),
    ("an unknown name", "CVE-2026-23993", r#"{"alg":"XS256","kid":"key-0"}"#, "algorithm_not_allowed"),
    ("encryption", "RFC 7518 §4.2", r#"{"alg":"RSA1_5","kid":"key-0"}"#, "algorithm_not_allowed"),
    ("direct encryption", "RFC 7518 §4.5", r#"{"alg":"dir","kid":"key-0"}"#, "algorithm_not_allowed"),
    (
        "a password",
        "RFC 7518 §4.8",
        r#"{"alg":"PBES2-HS256+A128KW","p2c":2147483647,"kid":"key-0"}"#,
        "algorithm_not_allowed",
    ),
    ("enc", "RFC 7516 §4.1.2", r#"{"alg":"ES256","kid":"key-0","enc":"A128GCM"}"#, "malformed_token"),
    ("enc of null", "RFC 7516 §4.1.2", r#"{"alg":"ES256","kid":"key-0","enc":null}"#, "malformed_token"),
];

const EXTENSIONS: &[Case] = &[
    (
        "crit names b64",
        "RFC 7797 §6",
        r#"{"alg":"ES256","kid":"key-0","crit":["b64"],"b64":false}"#,
        "unsupported_critical",
    ),
    (
        "crit names exp",
        "CVE-2025-59420",
        r#"{"alg":"ES256","kid":"key-0","crit":["exp"],"exp":1}"#,
        "unsupported_critical",
    ),
    (
        "crit names what is not there",
        "RFC 7515 §4.1.11",
        r#"{"alg":"ES256","kid":"key-0","crit":["x"]}"#,
        "unsupported_critical",
    ),
    ("crit names alg", "RFC 7515 §4.1.11", r#"{"alg":"ES256","kid":"key-0","crit":["alg"]}"#, "unsupported_critical"),
    ("crit is empty", "RFC 7515 §4.1.11", r#"{"alg":"ES256","kid":"key-0","crit":[]}"#, "unsupported_critical"),
    ("crit is an object", "RFC 7515 §4.1.11", r#"{"alg":"ES256","kid":"key-0","crit":{}}"#, "unsupported_critical"),
    ("crit is text", "RFC 7515 §4.1.11", r#"{"alg":"ES256","kid":"key-0","crit":"exp"}"#, "unsupported_critical"),
    ("crit is false", "RFC 7515 §4.1.11", r#"{"alg":"ES256","kid":"key-0","crit":false}"#, "unsupported_critical"),
    ("crit is null", "RFC 7515 §4.1.11", r#"{"alg":"ES256","kid":"key-0","crit":null}"#, "unsupported_critical"),
    (
        "crit by an escape",
        "CVE-2025-59420",
        r#"{"alg":"ES256","kid":"key-0","cr\u0069t":["x"],"x":1}"#,
        "unsupported_critical",
    ),
    ("Crit is another name", "RFC 7515 §4", r#"{"alg":"ES256","kid":"key-0","Crit":["x"]}"#, "passed"),
    ("b64 without crit", "RFC 7797 §3", r#"{"alg":"ES256","kid":"key-0","b64":false}"#, "unsupported_critical"),
    ("b64 true", "RFC 7797 §3", r#"{"alg":"ES256","kid":"key-0","b64":true}"#, "unsupported_critical"),
    ("b64 as text", "RFC 7797 §3", r#"{"alg":"ES256","kid":"key-0","b64":"false"}"#, "unsupported_critical"),
    ("zip", "RFC 8725 §3.6", r#"{"alg":"ES256","kid":"key-0","zip":"DEF"}"#, "unsupported_critical"),
    ("zip of null", "RFC 7516 §4.1.3", r#"{"alg":"ES256","kid":"key-0","zip":null}"#, "unsupported_critical"),
    ("cty JWT", "CVE-2026-29000", r#"{"alg":"ES256","kid":"key-0","cty":"JWT"}"#, "malformed_token"),
    (
        "cty application/jwt",
        "RFC 7519 §5.2",
        r#"{"alg":"ES256","kid":"key-0","cty":"application/jwt"}"#,
        "malformed_token",
    ),
    ("cty is a number", "RFC 7515 §4.1.10", r#"{"alg":"ES256","kid":"key-0","cty":1}"#, "malformed_token"),
    ("cty json", "RFC 7515 §4.1.10", r#"{"alg":"ES256","kid":"key-0","cty":"json"}"#, "passed"),
    ("a key beside", "CVE-2018-0114", r#"{"alg":"ES256","kid":"key-0","jwk":{"kty":"oct","k":"AA"}}"#, "passed"),
    ("a key of a wrong type beside", "CVE-2018-0114", r#"{"alg":"ES256","kid":"key-0","jwk":7,"x5c":{}}"#, "passed"),
    (
        "URLs of keys",
        "CWE-918",
        r#"{"alg":"ES256","kid":"key-0","jku":"http://127.0.0.1:1/","x5u":"file:///"}"#,
        "passed",
    ),
];

const TYP: &[Case] = &[
    ("typ application/JWT", "RFC 7515 §4.1.9", r#"{"alg":"ES256","kid":"key-0","typ":"application/JWT"}"#, "passed"),
    ("typ AT+JWT", "RFC 9068 §2.1", r#"{"alg":"ES256","kid":"key-0","typ":"AT+JWT"}"#, "passed"),
    ("typ JOSE", "RFC 7515 §4.1.9", r#"{"alg":"ES256","kid":"key-0","typ":"JOSE"}"#, "passed"),
    ("typ jose", "RFC 7515 §4.1.9", r#"{"alg":"ES256","kid":"key-0","typ":"jose"}"#, "passed"),
    ("typ application/Jose", "RFC 7515 §4.1.9", r#"{"alg":"ES256","kid":"key-0","typ":"application/Jose"}"#, "passed"),
    ("typ JOSE with a space", "RFC 8725 §3.11", r#"{"alg":"ES256","kid":"key-0","typ":"JOSE "}"#, "unexpected_type"),
    ("typ JWE", "RFC 8725 §3.11", r#"{"alg":"ES256","kid":"key-0","typ":"JWE"}"#, "unexpected_type"),
    ("typ JOSE+JSON", "RFC 7515 §4.1.9", r#"{"alg":"ES256","kid":"key-0","typ":"JOSE+JSON"}"#, "unexpected_type"),
    ("typ is empty", "RFC 8725 §3.11", r#"{"alg":"ES256","kid":"key-0","typ":""}"#, "unexpected_type"),
    ("typ with a space behind", "RFC 8725 §3.11", r#"{"alg":"ES256","kid":"key-0","typ":"JWT "}"#, "unexpected_type"),
    ("typ with a parameter", "RFC 8725 §3.11", r#"{"alg":"ES256","kid":"key-0","typ":"jwt;v=1"}"#, "unexpected_type"),
    ("typ text/jwt", "RFC 8725 §3.11", r#"{"alg":"ES256","kid":"key-0","typ":"text/jwt"}"#, "unexpected_type"),
    (
        "a logout token",
        "OpenID Back-Channel Logout §2.4",
        r#"{"alg":"ES256","kid":"key-0","typ":"logout+jwt"}"#,
        "unexpected_type",
    ),
    ("a security event", "RFC 8417 §2.3", r#"{"alg":"ES256","kid":"key-0","typ":"secevent+jwt"}"#, "unexpected_type"),
    ("a proof of possession", "RFC 9449 §4.2", r#"{"alg":"ES256","kid":"key-0","typ":"dpop+jwt"}"#, "unexpected_type"),
    (
        "an authorization request",
        "RFC 9101 §10.8",
        r#"{"alg":"ES256","kid":"key-0","typ":"oauth-authz-req+jwt"}"#,
        "unexpected_type",
    ),
    (
        "an introspection",
        "RFC 9701 §5",
        r#"{"alg":"ES256","kid":"key-0","typ":"token-introspection+jwt"}"#,
        "unexpected_type",
    ),
    (
        "a client's own assertion",
        "RFC 7523 §2.2",
        r#"{"alg":"ES256","kid":"key-0","typ":"client-authentication+jwt"}"#,
        "unexpected_type",
    ),
    (
        "an entity statement",
        "OpenID Federation §3",
        r#"{"alg":"ES256","kid":"key-0","typ":"entity-statement+jwt"}"#,
        "unexpected_type",
    ),
    ("typ of null", "RFC 7515 §4.1.9", r#"{"alg":"ES256","kid":"key-0","typ":null}"#, "malformed_token"),
    ("typ in a list", "RFC 7515 §4.1.9", r#"{"alg":"ES256","kid":"key-0","typ":["JWT"]}"#, "malformed_token"),
    ("typ twice", "RFC 7515 §4", r#"{"typ":"JWT","alg":"ES256","kid":"key-0","typ":"dpop+jwt"}"#, "malformed_token"),
];

/// A `kid` is compared, and nothing else is ever done with it.
const KID: &[Case] = &[
    ("kid of null", "RFC 7515 §4.1.4", r#"{"alg":"ES256","kid":null}"#, "malformed_token"),
    ("kid is a number", "RFC 7515 §4.1.4", r#"{"alg":"ES256","kid":0}"#, "malformed_token"),
    ("kid is an object", "RFC 7515 §4.1.4", r#"{"alg":"ES256","kid":{"$ne":""}}"#, "malformed_token"),
    ("kid twice", "RFC 7515 §4", r#"{"alg":"ES256","kid":"key-0","kid":"key-0"}"#, "malformed_token"),
    ("kid by an escape", "RFC 8259 §7", r#"{"alg":"ES256","kid":"key\u002d0"}"#, "passed"),
    ("no kid", "RFC 7515 §4.1.4", r#"{"alg":"ES256"}"#, "passed"),
    ("KID is another name", "RFC 7515 §4", r#"{"alg":"ES256","KID":"other"}"#, "passed"),
    ("kid is empty", "RFC 7515 §4.1.4", r#"{"alg":"ES256","kid":""}"#, "unknown_key"),
    ("kid in capitals", "RFC 7515 §4.1.4", r#"{"alg":"ES256","kid":"KEY-0"}"#, "unknown_key"),
    ("kid with a space behind", "RFC 7515 §4.1.4", r#"{"alg":"ES256","kid":"key-0 "}"#, "unknown_key"),
    ("kid with NUL behind", "CWE-158", r#"{"alg":"ES256","kid":"key-0\u0000"}"#, "unknown_key"),
    ("kid is a path", "CWE-22", r#"{"alg":"ES256","kid":"../../../../dev/null"}"#, "unknown_key"),
    ("kid is a URL", "CWE-918", r#"{"alg":"ES256","kid":"http://169.254.169.254/latest/"}"#, "unknown_key"),
    ("kid is SQL", "CWE-89", r#"{"alg":"ES256","kid":"' UNION SELECT 'key' --"}"#, "unknown_key"),
    ("kid is a command", "CWE-78", r#"{"alg":"ES256","kid":"key-0|/usr/bin/id"}"#, "unknown_key"),
    (
        "kid breaks a line of a log",
        "CWE-117",
        r#"{"alg":"ES256","kid":"x\r\n{\"outcome\":\"forwarded\"}"}"#,
        "unknown_key",
    ),
    ("kid is __proto__", "CWE-1321", r#"{"alg":"ES256","kid":"__proto__"}"#, "unknown_key"),
];

fn all() -> impl Iterator<Item = &'static Case> {
    [ALG, EXTENSIONS, TYP, KID].into_iter().flatten()
}

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    all().map(|(name, source, ..)| (*name, *source)).collect()
}

#[tokio::test]
async fn each_jose_header_gets_its_reason() {
    // Unknown keys are asked for together, so that they wait for one fetch and not in turn.
    let house = House::start(&["--jwks-refresh-cooldown", "1s"]).await;
    let usual = house.issuer.token();
    let mut verdicts = JoinSet::new();
    for (name, source, header, expected) in all() {
        let token = compact(header, usual.payload(), |input| usual.key.sign(input));
        let addr = house.gate.addr();
        verdicts.spawn(async move { (Caller::new(addr).verdict(&token).await, expected, name, source) });
    }
    while let Some(verdict) = verdicts.join_next().await {
        let (seen, expected, name, source) = verdict.unwrap();
        assert_eq!(seen, *expected, "{name} ({source})");
    }
    let passing = all().filter(|(.., expected)| *expected == "passed").count();
    assert_eq!(house.origin.begun(), passing, "what is refused does not reach the origin");
}
