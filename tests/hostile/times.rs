//! Times and issuers in every type that JSON has (RFC 7519 §4.1), as raw JSON text, really signed.

use super::Caller;
use crate::support::token::compact;
use crate::support::{House, now};

type Case = (&'static str, &'static str, &'static str, &'static str);

/// `$NOW` is the time, `$ISS` the issuer; the other one is added where it is missing: `exp` in five minutes, `iss`.
const TIMES: &[Case] = &[
    ("exp in five minutes", "RFC 7519 §4.1.4", r#""exp":$NOW300"#, "passed"),
    ("exp with a fraction", "RFC 7519 §2", r#""exp":$NOW300.5"#, "passed"),
    ("exp with an exponent", "RFC 8259 §6", r#""exp":4.1024448e9"#, "passed"),
    ("exp as text", "CVE-2026-25537", r#""exp":"4102444800""#, "malformed_claim"),
    ("exp as empty text", "CVE-2026-25537", r#""exp":"""#, "malformed_claim"),
    ("exp as a date", "RFC 7519 §2", r#""exp":"2099-12-31T00:00:00Z""#, "malformed_claim"),
    ("exp of null", "CVE-2026-25537", r#""exp":null"#, "malformed_claim"),
    ("exp true", "CVE-2026-25537", r#""exp":true"#, "malformed_claim"),
    ("exp in a list", "CVE-2026-25537", r#""exp":[4102444800]"#, "malformed_claim"),
    ("exp in an empty list", "CVE-2026-25537", r#""exp":[]"#, "malformed_claim"),
    ("exp in an object", "CVE-2026-25537", r#""exp":{"value":4102444800}"#, "malformed_claim"),
    ("exp twice, the second later", "RFC 7519 §4", r#""exp":1,"exp":4102444800"#, "malformed_token"),
    ("exp twice, the second earlier", "RFC 7519 §4", r#""exp":4102444800,"exp":1"#, "malformed_token"),
    ("exp twice, once by an escape", "RFC 7519 §4", r#""exp":1,"\u0065xp":4102444800"#, "malformed_token"),
    ("EXP is another claim", "RFC 7519 §4", r#""exp":1,"EXP":4102444800"#, "expired"),
    ("exp zero", "RFC 7519 §4.1.4", r#""exp":0"#, "expired"),
    ("exp minus zero", "RFC 7519 §4.1.4", r#""exp":-0.0"#, "expired"),
    ("exp one", "RFC 7519 §4.1.4", r#""exp":1"#, "expired"),
    ("exp negative", "RFC 7519 §4.1.4", r#""exp":-4102444800"#, "expired"),
    ("exp negative beyond 2^53", "CWE-190", r#""exp":-9007199254740993"#, "expired"),
    ("exp -2^63", "CWE-190", r#""exp":-9223372036854775808"#, "malformed_claim"),
    ("exp 2^53 - 1", "RFC 8259 §6", r#""exp":9007199254740991"#, "passed"),
    ("exp 2^53", "RFC 8259 §6", r#""exp":9007199254740992"#, "passed"),
    ("exp 2^53 + 1", "RFC 8259 §6", r#""exp":9007199254740993"#, "passed"),
    ("exp 2^63 - 1", "CWE-190", r#""exp":9223372036854775807"#, "passed"),
    ("exp 2^63 - 1 with a fraction", "CWE-190", r#""exp":9223372036854774784.0"#, "passed"),
    ("exp 2^63 as a fraction", "CWE-190", r#""exp":9223372036854775808.0"#, "malformed_claim"),
    ("exp 2^63 with an exponent", "CWE-190", r#""exp":9.3E18"#, "malformed_claim"),
    ("exp 2^63", "CWE-190", r#""exp":9223372036854775808"#, "malformed_claim"),
    ("exp 2^64", "CWE-190", r#""exp":18446744073709551616"#, "malformed_claim"),
    ("exp 2^64 + now", "CWE-190", r#""exp":18446744077811996416"#, "malformed_claim"),
    ("exp 1e300", "CWE-190", r#""exp":1e300"#, "malformed_claim"),
    ("exp 1e400", "CVE-2025-11230", r#""exp":1e400"#, "malformed_token"),
    (
        "exp of many digits",
        "CVE-2025-11230",
        r#""exp":4102444800.00000000000000000000000000000000000000000001"#,
        "passed",
    ),
    ("exp almost nothing", "RFC 8259 §6", r#""exp":1e-300"#, "expired"),
    ("nbf as text", "CVE-2026-25537", r#""nbf":"4102444800""#, "malformed_claim"),
    ("nbf of null", "CVE-2026-25537", r#""nbf":null"#, "malformed_claim"),
    ("nbf true", "CVE-2026-25537", r#""nbf":true"#, "malformed_claim"),
    ("nbf in a list", "CVE-2026-25537", r#""nbf":[0]"#, "malformed_claim"),
    ("nbf far ahead", "RFC 7519 §4.1.5", r#""nbf":4102444800"#, "not_yet_valid"),
    ("nbf 2^53", "RFC 8259 §6", r#""nbf":9007199254740992"#, "not_yet_valid"),
    ("nbf 2^63 - 1", "CWE-190", r#""nbf":9223372036854775807"#, "not_yet_valid"),
    ("nbf 2^63", "CWE-190", r#""nbf":9223372036854775808"#, "malformed_claim"),
    ("nbf far behind, with an exponent", "RFC 8259 §6", r#""nbf":-9.1e18"#, "passed"),
    ("iat 2^63 - 1", "CWE-190", r#""iat":9223372036854775807"#, "not_yet_valid"),
    ("nbf 1e300", "CWE-190", r#""nbf":1e300"#, "malformed_claim"),
    ("nbf negative", "RFC 7519 §4.1.5", r#""nbf":-1"#, "passed"),
    ("iat as text", "CVE-2026-25537", r#""iat":"0""#, "malformed_claim"),
    ("iat in an object", "CVE-2026-25537", r#""iat":{}"#, "malformed_claim"),
    ("iat false", "CVE-2026-25537", r#""iat":false"#, "malformed_claim"),
    ("iat far ahead", "RFC 7519 §4.1.6", r#""iat":4102444800"#, "not_yet_valid"),
    ("iat 2^64", "CWE-190", r#""iat":18446744073709551616"#, "malformed_claim"),
    ("iat after exp", "RFC 7519 §4.1.6", r#""exp":$NOW5,"iat":$NOW10"#, "passed"),
];

const ISSUERS: &[Case] = &[
    ("iss", "RFC 7519 §4.1.1", r#""iss":"$ISS""#, "passed"),
    ("iss by an escape", "RFC 8259 §7", r#""\u0069ss":"$ISS""#, "passed"),
    ("iss with a slash behind", "RFC 7519 §2", r#""iss":"$ISS/""#, "untrusted_issuer"),
    ("iss with a space behind", "RFC 7519 §2", r#""iss":"$ISS ""#, "untrusted_issuer"),
    ("iss with a space before", "RFC 7519 §2", r#""iss":" $ISS""#, "untrusted_issuer"),
    ("iss with NUL behind", "CWE-158", r#""iss":"$ISS\u0000""#, "untrusted_issuer"),
    ("iss with a fragment", "RFC 8414 §2", r#""iss":"$ISS\u0023""#, "untrusted_issuer"),
    ("iss with a query", "RFC 8414 §2", r#""iss":"$ISS?""#, "untrusted_issuer"),
    ("iss as user information", "RFC 3986 §3.2.1", r#""iss":"$ISS@evil.example""#, "untrusted_issuer"),
    ("iss as the start of a name", "RFC 7519 §4.1.1", r#""iss":"$ISS.evil.example""#, "untrusted_issuer"),
    ("iss with a path up", "RFC 3986 §6.2.2.3", r#""iss":"$ISS/x/..""#, "untrusted_issuer"),
    ("iss in a list", "RFC 8725 §3.8", r#""iss":["$ISS"]"#, "untrusted_issuer"),
    ("iss in a list beside another", "RFC 8725 §3.8", r#""iss":["https://evil.example","$ISS"]"#, "untrusted_issuer"),
    ("iss in an object", "RFC 8725 §3.8", r#""iss":{"$ISS":true}"#, "untrusted_issuer"),
    ("iss of null", "RFC 8725 §3.8", r#""iss":null"#, "untrusted_issuer"),
    ("iss true", "RFC 8725 §3.8", r#""iss":true"#, "untrusted_issuer"),
    ("iss is empty", "RFC 8725 §3.8", r#""iss":"""#, "untrusted_issuer"),
    ("Iss is another claim", "RFC 7519 §4", r#""Iss":"$ISS""#, "untrusted_issuer"),
    ("iss twice and alike", "RFC 7519 §4", r#""iss":"$ISS","iss":"$ISS""#, "malformed_token"),
    (
        "iss twice, a foreign one first",
        "RFC 7519 §4",
        r#""iss":"https://evil.example","iss":"$ISS""#,
        "malformed_token",
    ),
    ("iss is a URL of another service", "CWE-918", r#""iss":"http://169.254.169.254""#, "untrusted_issuer"),
];

fn all() -> impl Iterator<Item = (&'static Case, bool)> {
    TIMES.iter().map(|case| (case, true)).chain(ISSUERS.iter().map(|case| (case, false)))
}

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    all().map(|((name, source, ..), _)| (*name, *source)).collect()
}

#[tokio::test]
async fn times_and_issuers_are_of_one_type_and_compared_exactly() {
    let house = House::start(&[]).await;
    let (usual, issuer, now) = (house.issuer.token(), house.issuer.url(), now());
    let mut caller = Caller::new(house.gate.addr());
    for ((name, source, template, expected), is_time) in all() {
        let mut claims = template.replace("$ISS", &issuer);
        for ahead in [300, 10, 5] {
            claims = claims.replace(&format!("$NOW{ahead}"), &(now + ahead).to_string());
        }
        if is_time {
            claims = format!("{claims},\"iss\":\"{issuer}\"");
        }
        if !template.contains("exp\"") && !template.contains("xp\":") {
            claims = format!("{claims},\"exp\":{}", now + 300);
        }
        let token = compact(usual.jose_header(), format!("{{{claims}}}"), |input| usual.key.sign(input));
        assert_eq!(caller.verdict(&token).await, *expected, "{name} ({source}): {claims}");
    }
    let passing = all().filter(|((.., expected), _)| *expected == "passed").count();
    assert_eq!(house.origin.begun(), passing, "what is refused does not reach the origin");
}
