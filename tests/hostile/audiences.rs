//! `aud` in every type and spelling (RFC 7519 §4.1.3), as raw JSON text, really signed.

use super::Caller;
use crate::support::House;
use crate::support::token::compact;

type Case = (&'static str, &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    ("a string", "RFC 7519 §4.1.3", r#""aud":"orders""#, "passed"),
    ("a list of one", "RFC 7519 §4.1.3", r#""aud":["orders"]"#, "passed"),
    ("among others", "RFC 7519 §4.1.3", r#""aud":["a","orders","b"]"#, "passed"),
    ("by an escape", "RFC 8259 §7", r#""aud":"\u006frders""#, "passed"),
    ("another case", "RFC 7519 §2", r#""aud":"Orders""#, "wrong_audience"),
    ("a space behind", "RFC 7519 §2", r#""aud":"orders ""#, "wrong_audience"),
    ("NUL behind", "CWE-158", r#""aud":"orders\u0000""#, "wrong_audience"),
    ("a prefix", "RFC 7519 §2", r#""aud":"order""#, "wrong_audience"),
    ("a longer name", "RFC 7519 §2", r#""aud":"orders.evil.example""#, "wrong_audience"),
    ("a list in a string", "RFC 7519 §4.1.3", r#""aud":"billing,orders""#, "wrong_audience"),
    ("names and spaces in a string", "RFC 7519 §4.1.3", r#""aud":"billing orders""#, "wrong_audience"),
    ("a wildcard", "RFC 7519 §4.1.3", r#""aud":"*""#, "wrong_audience"),
    ("empty", "RFC 7519 §4.1.3", r#""aud":"""#, "wrong_audience"),
    ("an empty list", "RFC 7519 §4.1.3", r#""aud":[]"#, "wrong_audience"),
    ("a list of nothing", "RFC 7519 §4.1.3", r#""aud":[""]"#, "wrong_audience"),
    ("letters that look alike", "Unicode UTS 39", r#""aud":"оrders""#, "wrong_audience"),
    ("null", "RFC 7519 §4.1.3", r#""aud":null"#, "malformed_claim"),
    ("true", "RFC 7519 §4.1.3", r#""aud":true"#, "malformed_claim"),
    ("a number", "RFC 7519 §4.1.3", r#""aud":1"#, "malformed_claim"),
    ("an object", "RFC 7519 §4.1.3", r#""aud":{"orders":true}"#, "malformed_claim"),
    ("a list within a list", "RFC 7519 §4.1.3", r#""aud":[["orders"]]"#, "malformed_claim"),
    ("a number in the list", "RFC 7519 §4.1.3", r#""aud":["orders",1]"#, "malformed_claim"),
    ("null in the list", "RFC 7519 §4.1.3", r#""aud":["orders",null]"#, "malformed_claim"),
    ("twice, ours last", "RFC 7519 §4", r#""aud":"billing","aud":"orders""#, "malformed_token"),
    ("twice, ours first", "RFC 7519 §4", r#""aud":"orders","aud":"billing""#, "malformed_token"),
    ("AUD is another claim", "RFC 7519 §4", r#""AUD":"orders""#, "missing_claim"),
    ("none", "RFC 7519 §4.1.3", r#""x":1"#, "missing_claim"),
];

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    CASES.iter().map(|(name, source, ..)| (*name, *source)).collect()
}

#[tokio::test]
async fn an_audience_is_ours_byte_for_byte_or_it_is_not() {
    let house = House::start(&["--audience", "orders"]).await;
    let usual = house.issuer.token();
    let mut caller = Caller::new(house.gate.addr());
    for (name, source, claim, expected) in CASES {
        let payload = usual.payload();
        let claims = format!("{},{claim}}}", payload.strip_suffix('}').unwrap());
        let token = compact(usual.jose_header(), claims, |input| usual.key.sign(input));
        assert_eq!(caller.verdict(&token).await, *expected, "{name} ({source})");
    }
    let passing = CASES.iter().filter(|(.., expected)| *expected == "passed").count();
    assert_eq!(house.origin.begun(), passing, "what is refused does not reach the origin");
}
