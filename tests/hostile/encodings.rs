//! How a token is written: base64url, dots and other serializations (RFC 7515 §2, §7).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Caller;
use crate::support::House;
use crate::support::key::base64url;

type Case = (&'static str, &'static str, &'static str, &'static str);

/// `{h}`, `{p}` and `{s}` are the parts of a token that would pass.
const CASES: &[Case] = &[
    ("the usual", "RFC 7515 §7.1", "{h}.{p}.{s}", "passed"),
    ("padding behind the signature", "RFC 7515 §2", "{h}.{p}.{s}==", "malformed_token"),
    ("one padding character", "RFC 7515 §2", "{h}.{p}.{s}=", "malformed_token"),
    ("padding in the middle", "RFC 7515 §2", "{h}=.{p}.{s}", "malformed_credentials"),
    ("a dot behind", "RFC 7515 §7.1", "{h}.{p}.{s}.", "malformed_token"),
    ("a dot before", "RFC 7515 §7.1", ".{h}.{p}.{s}", "malformed_token"),
    ("two dots for one", "RFC 7515 §7.1", "{h}..{p}.{s}", "malformed_token"),
    ("no signature", "CVE-2020-28042", "{h}.{p}.", "invalid_signature"),
    ("no signature and no dot", "RFC 7515 §7.1", "{h}.{p}", "malformed_token"),
    ("the signature alone", "RFC 7515 §7.1", "..{s}", "malformed_token"),
    ("a detached payload", "RFC 7515 F", "{h}..{s}", "malformed_token"),
    ("no header", "RFC 7515 §7.1", ".{p}.{s}", "malformed_token"),
    ("five parts", "RFC 7516 §9", "{h}.{p}.{s}.{p}.{s}", "encrypted_token"),
    ("five parts, a token within", "CVE-2026-29000", "{h}....{p}", "encrypted_token"),
    ("six parts", "RFC 7515 §7.1", "{h}.{p}.{s}.{h}.{p}.{s}", "malformed_token"),
    ("an encoded dot", "RFC 3986 §2.4", "{h}%2E{p}%2E{s}", "malformed_credentials"),
    ("a space within", "RFC 6750 §2.1", "{h}. {p}.{s}", "malformed_credentials"),
    ("a tab within", "RFC 6750 §2.1", "{h}.\t{p}.{s}", "malformed_credentials"),
    ("a space behind", "RFC 9110 §5.5", "{h}.{p}.{s} ", "passed"),
    ("a comma behind", "RFC 9110 §5.6.1", "{h}.{p}.{s},", "multiple_tokens"),
    ("two tokens and a comma", "RFC 6750 §2", "{h}.{p}.{s},{h}.{p}.{s}", "multiple_tokens"),
    ("two tokens and a space", "RFC 6750 §2", "{h}.{p}.{s} {h}.{p}.{s}", "malformed_credentials"),
    ("a semicolon behind", "RFC 6750 §2.1", "{h}.{p}.{s};", "malformed_credentials"),
    ("in quotes", "RFC 6750 §2.1", "\"{h}.{p}.{s}\"", "malformed_credentials"),
    ("as a parameter", "RFC 9110 §11.4", "token={h}.{p}.{s}", "malformed_credentials"),
    ("Bearer twice", "RFC 6750 §2.1", "Bearer {h}.{p}.{s}", "malformed_credentials"),
    ("a character more in the signature", "RFC 7518 §3.4", "{h}.{p}.{s}A", "invalid_signature"),
    ("two characters more in the signature", "RFC 7518 §3.4", "{h}.{p}.{s}AA", "invalid_signature"),
    ("a plus in the signature", "RFC 4648 §5", "{h}.{p}.+{s}", "malformed_token"),
    ("a slash in the payload", "RFC 4648 §5", "{h}.{p}////.{s}", "malformed_token"),
    ("letters beyond ASCII", "RFC 6750 §2.1", "{h}.{p}.{s}\u{e9}", "malformed_credentials"),
    ("a letter that looks like a dot", "Unicode UTS 39", "{h}\u{2024}{p}\u{2024}{s}", "malformed_credentials"),
    ("header and payload changed over", "RFC 7515 §5.2", "{p}.{h}.{s}", "malformed_token"),
    (
        "JSON, flattened",
        "RFC 7515 §7.2.2",
        r#"{"payload":"{p}","protected":"{h}","signature":"{s}"}"#,
        "multiple_tokens",
    ),
    ("JSON, flattened, encoded once more", "RFC 7515 §7.2.2", "{flat}", "malformed_token"),
    ("in the other alphabet", "RFC 4648 §4", "{standard}", "malformed_token"),
    ("encoded twice", "RFC 7515 §7.1", "{twice}", "malformed_token"),
    ("an unsecured token", "CVE-2018-1000531", "eyJhbGciOiJub25lIn0.{p}.", "algorithm_not_allowed"),
    (
        "an unsecured token, signed all the same",
        "RFC 7518 §3.6",
        "eyJhbGciOiJub25lIn0.{p}.{s}",
        "algorithm_not_allowed",
    ),
    ("the header of none, the signature kept", "RFC 8725 §3.2", "eyJhbGciOiJOT05FIn0.{p}.{s}", "algorithm_not_allowed"),
    ("the words null null null", "RFC 7515 §5.2", "null.null.null", "malformed_token"),
    ("undefined", "RFC 6750 §2.1", "undefined", "malformed_token"),
    ("dots only", "RFC 7515 §7.1", "..", "malformed_token"),
    ("equals signs only", "RFC 9110 §11.2", "===", "malformed_credentials"),
    ("nothing", "RFC 6750 §2.1", "", "malformed_credentials"),
];

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    CASES.iter().map(|(name, source, ..)| (*name, *source)).collect()
}

#[tokio::test]
async fn a_token_is_read_in_one_spelling_only() {
    let house = House::start(&[]).await;
    // A claim whose encoding has the characters in which the two alphabets differ.
    let token = house.issuer.token().claim("x", "~~~???>>>").sign();
    let parts: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let [header, payload, signature] = parts;
    let flat = format!(r#"{{"payload":"{payload}","protected":"{header}","signature":"{signature}"}}"#);
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    let standard = format!("{header}.{}.{signature}", STANDARD.encode(claims).trim_end_matches('='));
    let mut caller = Caller::new(house.gate.addr());
    for (name, source, template, expected) in CASES {
        let written = template
            .replace("{h}", header)
            .replace("{p}", payload)
            .replace("{s}", signature)
            .replace("{flat}", &base64url(&flat))
            .replace("{standard}", &standard)
            .replace("{twice}", &base64url(&token));
        assert_eq!(caller.verdict(&written).await, *expected, "{name} ({source}): {written}");
    }
    let passing = CASES.iter().filter(|(.., expected)| *expected == "passed").count();
    assert_eq!(house.origin.begun(), passing, "what is refused does not reach the origin");
}
