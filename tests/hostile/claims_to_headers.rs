//! Claims that become header fields: as they are, or not at all. Nothing of a claim can end a field.

use super::Caller;
use crate::support::House;
use crate::support::token::compact;

/// The name, the source, the claim as raw JSON, and the field's value at the origin; `None`: refused.
type Case = (&'static str, &'static str, &'static str, Option<&'static str>);

const CASES: &[Case] = &[
    ("plain text", "RFC 9110 §5.5", r#""alice""#, Some("alice")),
    ("spaces within", "RFC 9110 §5.5", r#""a  b""#, Some("a  b")),
    ("quotes and semicolons", "RFC 9110 §5.5", r#""a\";b""#, Some("a\";b")),
    ("a comma in text", "RFC 9110 §5.6.1", r#""a,b""#, Some("a,b")),
    ("text that is empty", "RFC 9110 §5.5", r#""""#, Some("")),
    ("CRLF and a field", "CWE-113", r#""a\r\nX-Admin: 1""#, None),
    ("CRLF and a request", "CWE-444", r#""a\r\n\r\nGET /admin HTTP/1.1\r\n\r\n""#, None),
    ("LF", "CWE-113", r#""a\nb""#, None),
    ("CR", "CWE-113", r#""a\rb""#, None),
    ("LF at the end", "CWE-113", r#""a\n""#, None),
    ("NUL", "CWE-158", r#""a\u0000b""#, None),
    ("NUL at the end", "CWE-158", r#""a\u0000""#, None),
    ("a tab", "RFC 9110 §5.5", r#""a\tb""#, None),
    ("a vertical tab", "RFC 9110 §5.5", r#""a\u000bb""#, None),
    ("an escape character", "CWE-150", r#""a\u001b[2Jb""#, None),
    ("delete", "RFC 9110 §5.5", r#""a\u007fb""#, None),
    ("next line", "CWE-113", r#""a\u0085X-Admin: 1""#, None),
    ("a line separator", "CWE-113", r#""a\u2028X-Admin: 1""#, None),
    ("a letter whose low byte is LF", "CVE-2018-12116", r#""a\u010aX-Admin: 1""#, None),
    ("a letter whose low byte is CR", "CVE-2018-12116", r#""a\u010db""#, None),
    ("a letter beyond ASCII", "RFC 9110 §5.5", r#""Ren\u00e9""#, None),
    ("a letter beyond the basic plane", "RFC 9110 §5.5", r#""\ud83d\ude00""#, None),
    ("a byte order mark", "RFC 9110 §5.5", r#""\ufeffalice""#, None),
    ("a space before", "RFC 9110 §5.5", r#"" alice""#, None),
    ("a space behind", "RFC 9110 §5.5", r#""alice ""#, None),
    ("a whole number", "RFC 8259 §6", "42", Some("42")),
    ("a fraction", "RFC 8259 §6", "1.5", Some("1.5")),
    ("a number beyond a double's digits", "RFC 8259 §6", "123456789012345678901234", Some("123456789012345678901234")),
    ("its neighbour", "RFC 8259 §6", "123456789012345678901235", Some("123456789012345678901235")),
    ("2^64", "RFC 8259 §6", "18446744073709551616", Some("18446744073709551616")),
    ("a fraction with a zero behind", "RFC 8259 §6", "1.50", Some("1.50")),
    ("a fraction that a double rounds", "RFC 8259 §6", "9007199254740993.0", Some("9007199254740993.0")),
    ("an exponent", "RFC 8259 §6", "1e2", Some("1e2")),
    ("an exponent in capitals, with a sign", "RFC 8259 §6", "1E+2", Some("1E+2")),
    ("minus zero", "RFC 8259 §6", "-0", Some("-0")),
    ("an exponent that a double takes for zero", "RFC 8259 §6", "1e-400", Some("1e-400")),
    ("an exponent beyond a double in a list", "CVE-2025-11230", "[1e308]", Some("1e308")),
    (
        "numbers in a list, with white space",
        "RFC 8259 §6",
        "[ 12345678901234567890123 ,\t1.0, -0.0 ]",
        Some("12345678901234567890123,1.0,-0.0"),
    ),
    ("text with an escape", "RFC 8259 §7", r#""\u0061lice""#, Some("alice")),
    ("text with an escape in a list", "RFC 8259 §7", r#"["\u002c"]"#, None),
    ("an object in a list", "design §6", r#"[{"a":1}]"#, None),
    ("true", "RFC 8259 §3", "true", Some("true")),
    ("null is no claim", "RFC 8259 §3", "null", Some("-")),
    ("a list", "design §6", r#"["a","b",3]"#, Some("a,b,3")),
    ("a comma in a list", "CWE-74", r#"["a,admin"]"#, None),
    ("CRLF in a list", "CWE-113", r#"["a","b\r\nX-Admin: 1"]"#, None),
    ("a space at an end in a list", "CWE-74", r#"["a"," b"]"#, None),
    ("a list in a list", "design §6", r#"[["a"]]"#, None),
    ("null in a list", "design §6", r#"["a",null]"#, None),
    ("an object", "design §6", r#"{"a":"b"}"#, None),
];

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    CASES.iter().map(|(name, source, ..)| (*name, *source)).collect()
}

fn token_with(house: &House, claim: &str) -> String {
    let usual = house.issuer.token();
    let payload = usual.payload();
    let claims = format!("{},\"c\":{claim}}}", payload.strip_suffix('}').unwrap());
    compact(usual.jose_header(), claims, |input| usual.key.sign(input))
}

#[tokio::test]
async fn a_claim_stands_in_a_field_as_it_is_or_is_refused() {
    let house = House::start(&["--claim-header", "c=X-C"]).await;
    let mut caller = Caller::new(house.gate.addr());
    let mut passing = 0;
    for (name, source, claim, expected) in CASES {
        let verdict = caller.verdict(&token_with(&house, claim)).await;
        let Some(expected) = expected else {
            assert_eq!(verdict, "claim_not_forwardable", "{name} ({source})");
            continue;
        };
        passing += 1;
        assert_eq!(verdict, "passed", "{name} ({source})");
        let received = house.origin.last();
        assert_eq!(received.header("x-c").unwrap_or("-"), *expected, "{name} ({source})");
        assert_eq!(received.header("x-admin"), None, "{name} ({source})");
    }
    assert_eq!(house.origin.begun(), passing, "what is refused does not reach the origin");
}

/// The claim's path, the claim `c` as raw JSON, and the field's value at the origin; `None`: no such claim.
const NESTED: &[(&str, &str, Option<&str>)] = &[
    ("c.id", r#"{"id":12345678901234567890123}"#, Some("12345678901234567890123")),
    ("c.id", r#"{"id" : 1E2 }"#, Some("1E2")),
    ("c.a.id", r#"{"a":{"id":[1e2,-0]}}"#, Some("1e2,-0")),
    ("c.\u{69}d", r#"{"\u0069d":100.0}"#, Some("100.0")),
    ("c.a.id", r#"{"a":[{"id":1}]}"#, None),
    ("c.id", "12345678901234567890123", None),
];

#[tokio::test]
async fn a_number_reaches_the_origin_in_the_digits_that_were_signed_however_deep_it_is() {
    for (path, claim, expected) in NESTED {
        let house = House::start(&["--claim-header", &format!("{path}=X-C")]).await;
        assert_eq!(house.verdict(&token_with(&house, claim)).await, "passed", "{path} in {claim}");
        assert_eq!(house.origin.last().header("x-c"), *expected, "{path} in {claim}");
    }
}

#[tokio::test]
async fn the_subject_as_a_number_is_told_in_its_digits() {
    let house = House::start(&["--claim-header", "sub=X-User"]).await;
    let usual = house.issuer.token().without("sub");
    for digits in ["10000000000000000000001", "10000000000000000000002"] {
        let claims = format!("{},\"sub\":{digits}}}", usual.payload().strip_suffix('}').unwrap());
        let token = compact(usual.jose_header(), claims, |input| usual.key.sign(input));
        assert_eq!(house.verdict(&token).await, "passed");
        assert_eq!(house.origin.last().header("x-user"), Some(digits));
    }
}

#[tokio::test]
async fn the_whole_set_is_visible_ascii_in_either_format_whatever_a_claim_holds() {
    for format in ["base64url", "json"] {
        let house = House::start(&["--claims-format", format]).await;
        let mut caller = Caller::new(house.gate.addr());
        for (name, source, claim, _) in CASES {
            assert_eq!(caller.verdict(&token_with(&house, claim)).await, "passed", "{name} ({source})");
            let received = house.origin.last();
            let header = received.header("x-jwt-claims").unwrap();
            assert!(header.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{name} ({source}): {header}");
            assert_eq!(received.header("x-admin"), None, "{name} ({source})");
            if format == "json" {
                let (seen, sent): (serde_json::Value, serde_json::Value) =
                    (serde_json::from_str(header).unwrap(), serde_json::from_str(claim).unwrap());
                assert_eq!(seen["c"], sent, "{name} ({source})");
            }
        }
    }
}
