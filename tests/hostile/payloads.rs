//! JSON that parsers read differently, as a claims set and as a JOSE header, really signed.

use super::Caller;
use crate::support::House;
use crate::support::token::compact;

type Case = (&'static str, &'static str, &'static str, &'static str);

/// `$` stands for the claims that a token has to have, without braces.
const TEXTS: &[Case] = &[
    ("the usual", "RFC 8259 §4", r"{$}", "passed"),
    ("white space around everything", "RFC 8259 §2", " \t\r\n{ $ } \n", "passed"),
    ("a byte order mark", "RFC 8259 §8.1", "\u{feff}{$}", "malformed_token"),
    ("a form feed as white space", "RFC 8259 §2", "\u{c}{$}", "malformed_token"),
    ("a no-break space", "RFC 8259 §2", "{$}\u{a0}", "malformed_token"),
    ("NUL behind", "CWE-158", "{$}\0", "malformed_token"),
    ("a comma behind the last member", "RFC 8259 §4", r"{$,}", "malformed_token"),
    ("a comma before the first member", "RFC 8259 §4", r"{,$}", "malformed_token"),
    ("a second object behind", "RFC 8259 §2", r#"{$}{"sub":"admin"}"#, "malformed_token"),
    ("a second object on its own line", "RFC 7464 §2", "{$}\n{}", "malformed_token"),
    ("a closing brace more", "RFC 8259 §4", r"{$}}", "malformed_token"),
    ("no closing brace", "RFC 8259 §4", r"{$", "malformed_token"),
    ("in a list", "RFC 7519 §7.2", r"[{$}]", "malformed_token"),
    ("as a string", "RFC 7519 §7.2", r#""{}""#, "malformed_token"),
    ("a number", "RFC 7519 §7.2", "1", "malformed_token"),
    ("true", "RFC 7519 §7.2", "true", "malformed_token"),
    ("null", "RFC 7519 §7.2", "null", "malformed_token"),
    ("white space only", "RFC 7519 §7.2", "  ", "malformed_token"),
    ("a comment", "RFC 8259 §2", r#"{$/*,"sub":"admin"*/}"#, "malformed_token"),
    ("a comment to the end of the line", "RFC 8259 §2", "{$//\n}", "malformed_token"),
    ("names in single quotes", "RFC 8259 §7", r"{$,'x':1}", "malformed_token"),
    ("a name without quotes", "RFC 8259 §7", r"{$,x:1}", "malformed_token"),
    ("no colon", "RFC 8259 §4", r#"{$,"x" 1}"#, "malformed_token"),
    ("NaN", "RFC 8259 §6", r#"{$,"x":NaN}"#, "malformed_token"),
    ("Infinity", "RFC 8259 §6", r#"{$,"x":Infinity}"#, "malformed_token"),
    ("-Infinity", "RFC 8259 §6", r#"{$,"x":-Infinity}"#, "malformed_token"),
    ("1e400", "CVE-2025-11230", r#"{$,"x":1e400}"#, "malformed_token"),
    ("-1e400", "RFC 8259 §6", r#"{$,"x":-1e400}"#, "malformed_token"),
    ("an exponent of many digits", "CVE-2025-11230", r#"{$,"x":1e99999999999999999999}"#, "malformed_token"),
    ("an exponent that makes it nothing", "RFC 8259 §6", r#"{$,"x":1e-99999999999999999999}"#, "passed"),
    ("a leading zero", "RFC 8259 §6", r#"{$,"x":01}"#, "malformed_token"),
    ("a leading plus", "RFC 8259 §6", r#"{$,"x":+1}"#, "malformed_token"),
    ("a leading point", "RFC 8259 §6", r#"{$,"x":.5}"#, "malformed_token"),
    ("a trailing point", "RFC 8259 §6", r#"{$,"x":1.}"#, "malformed_token"),
    ("a hexadecimal number", "RFC 8259 §6", r#"{$,"x":0x10}"#, "malformed_token"),
    ("a minus alone", "RFC 8259 §6", r#"{$,"x":-}"#, "malformed_token"),
    ("minus zero", "RFC 8259 §6", r#"{$,"x":-0}"#, "passed"),
    ("2^64 + 1, not a time", "RFC 8259 §6", r#"{$,"x":18446744073709551617}"#, "passed"),
    ("True", "RFC 8259 §3", r#"{$,"x":True}"#, "malformed_token"),
    ("None", "RFC 8259 §3", r#"{$,"x":None}"#, "malformed_token"),
    ("undefined", "RFC 8259 §3", r#"{$,"x":undefined}"#, "malformed_token"),
    ("a line break in a string", "RFC 8259 §7", "{$,\"x\":\"a\nb\"}", "malformed_token"),
    ("a tab in a string", "RFC 8259 §7", "{$,\"x\":\"a\tb\"}", "malformed_token"),
    ("NUL in a string", "RFC 8259 §7", "{$,\"x\":\"a\0b\"}", "malformed_token"),
    ("an escaped NUL in a string", "RFC 8259 §7", r#"{$,"x":"a\u0000b"}"#, "passed"),
    ("an unknown escape", "RFC 8259 §7", r#"{$,"x":"\x41"}"#, "malformed_token"),
    ("an escape cut short", "RFC 8259 §7", r#"{$,"x":"\u12"}"#, "malformed_token"),
    ("a high surrogate alone", "RFC 8259 §8.2", r#"{$,"x":"\ud800"}"#, "malformed_token"),
    ("a low surrogate alone", "RFC 8259 §8.2", r#"{$,"x":"\udc00"}"#, "malformed_token"),
    ("surrogates the wrong way round", "RFC 8259 §8.2", r#"{$,"x":"\udc00\ud800"}"#, "malformed_token"),
    ("a lone surrogate in a name", "RFC 8259 §8.2", r#"{$,"\ud800":1}"#, "malformed_token"),
    ("a pair of surrogates", "RFC 8259 §7", r#"{$,"x":"\ud83d\ude00"}"#, "passed"),
    ("a noncharacter", "RFC 8259 §8.2", "{$,\"x\":\"\u{ffff}\"}", "passed"),
    ("a member twice", "RFC 8259 §4", r#"{$,"x":1,"x":1}"#, "malformed_token"),
    ("a member twice, once by an escape", "RFC 8259 §4", r#"{$,"x":1,"\u0078":2}"#, "malformed_token"),
    ("a member twice inside", "RFC 8259 §4", r#"{$,"x":{"y":1,"y":2}}"#, "malformed_token"),
    ("a member twice inside a list", "RFC 8259 §4", r#"{$,"x":[{"y":1},{"y":1,"y":1}]}"#, "malformed_token"),
    ("the empty name twice", "RFC 8259 §4", r#"{$,"":1,"":1}"#, "malformed_token"),
    ("the empty name once", "RFC 8259 §4", r#"{$,"":1}"#, "passed"),
    ("names that differ in case", "RFC 7519 §4", r#"{$,"x":1,"X":2}"#, "passed"),
    ("names that a normal form would join", "Unicode UAX 15", "{$,\"\u{e9}\":1,\"e\u{301}\":2}", "passed"),
    ("__proto__", "CWE-1321", r#"{$,"__proto__":{"admin":true}}"#, "passed"),
    ("32 levels", "design §6", r#"{$,"x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"#, "passed"),
    (
        "33 levels",
        "CWE-674",
        r#"{$,"x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"#,
        "malformed_token",
    ),
];

/// What stands inside a string of an otherwise sound object.
const OCTETS: &[(&str, &str, &[u8])] = &[
    ("a byte that no UTF-8 has", "RFC 3629 §3", b"\xff"),
    ("a continuation alone", "RFC 3629 §3", b"\x80"),
    ("a sequence cut short", "RFC 3629 §3", b"\xe2\x82"),
    ("an overlong slash", "RFC 3629 §10", b"\xc0\xaf"),
    ("an overlong NUL", "RFC 3629 §10", b"\xc0\x80"),
    ("a surrogate in UTF-8", "RFC 3629 §3", b"\xed\xa0\x80"),
    ("a pair of surrogates in UTF-8", "Unicode UTR 26", b"\xed\xa0\xbd\xed\xb8\x80"),
    ("beyond the last code point", "RFC 3629 §3", b"\xf4\x90\x80\x80"),
    ("Latin-1", "RFC 7519 §7.1", b"Ren\xe9"),
    ("UTF-16", "RFC 8259 §8.1", b"\xff\xfeR\0"),
];

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    let texts = TEXTS.iter().map(|(name, source, ..)| (*name, *source));
    texts.chain(OCTETS.iter().map(|(name, source, _)| (*name, *source))).collect()
}

#[tokio::test]
async fn json_that_two_parsers_could_read_differently_is_refused_as_claims_and_as_a_header() {
    let house = House::start(&[]).await;
    let usual = house.issuer.token();
    let (header, payload) = (usual.jose_header(), usual.payload());
    let mut caller = Caller::new(house.gate.addr());
    let inner = |object: &str| object.trim_start_matches('{').trim_end_matches('}').to_owned();
    for (name, source, template, expected) in TEXTS {
        let claims = template.replace('$', &inner(&payload));
        let token = compact(&header, claims, |input| usual.key.sign(input));
        assert_eq!(caller.verdict(&token).await, *expected, "{name} ({source}) as claims");
        let head = template.replace('$', &inner(&header));
        let token = compact(head, &payload, |input| usual.key.sign(input));
        assert_eq!(caller.verdict(&token).await, *expected, "{name} ({source}) as a header");
    }
    for (name, source, octets) in OCTETS {
        let with = |object: &str| {
            let inner = inner(object);
            [b"{", inner.as_bytes(), b",\"x\":\"", octets, b"\"}"].concat()
        };
        for (header, payload) in [(header.clone().into(), with(&payload)), (with(&header), payload.clone().into())] {
            let token = compact(header, payload, |input| usual.key.sign(input));
            assert_eq!(caller.verdict(&token).await, "malformed_token", "{name} ({source})");
        }
    }
    let passing = TEXTS.iter().filter(|(.., expected)| *expected == "passed").count();
    assert_eq!(house.origin.begun(), 2 * passing, "what is refused does not reach the origin");
}
