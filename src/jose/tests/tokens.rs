//! The shape of a token: what is well formed, and why the rest is not.

use base64::engine::general_purpose::URL_SAFE;

use super::*;

const HEADER: &str = r#"{"alg":"EdDSA"}"#;

fn unsigned(header: &str, payload: &str) -> String {
    format!("{}.{}.c2ln", encode(header), encode(payload))
}

#[test]
fn a_token_comes_apart_as_it_was_written() {
    let token = unsigned(r#"{"typ":"at+JWT","alg":"ES256","kid":"key-\u0031","jku":"https://evil.example"}"#, PAYLOAD);
    let jws = CompactJws::parse(&token).unwrap();
    assert_eq!(jws.header().alg(), Algorithm::Es256);
    assert_eq!(jws.header().kid(), Some("key-1"));
    assert_eq!(jws.header().token_type(), Some(TokenType::AccessToken));
    assert_eq!(jws.signing_input(), token.rsplit_once('.').unwrap().0.as_bytes());
    assert_eq!(jws.payload(), PAYLOAD.as_bytes());
    assert_eq!(jws.encoded_payload(), encode(PAYLOAD));
    assert_eq!(jws.signature(), b"sig");
    assert_eq!(jws.unverified_issuer(), Some("https://issuer.example.com"));
    let shown = format!("{jws:?}");
    assert!(shown.contains("key-1") && !shown.contains("issuer") && !shown.contains("c2ln"), "{shown}");
}

#[test]
fn an_issuer_that_is_no_string_selects_nothing() {
    for payload in ["{}", r#"{"iss":null}"#, r#"{"iss":["https://issuer.example.com"]}"#, r#"{"iss":1}"#] {
        let token = unsigned(HEADER, payload);
        assert_eq!(CompactJws::parse(&token).unwrap().unverified_issuer(), None, "{payload}");
    }
}

#[test]
fn each_malformed_token_has_its_reason() {
    let (header, payload) = (encode(HEADER), encode(r#"{"a":1}"#));
    let with_payload = |payload: &str| unsigned(HEADER, payload);
    let cases = [
        ("nothing", String::new(), "malformed_token"),
        ("no dots", "abc".to_owned(), "malformed_token"),
        ("two parts: the signature cut off", format!("{header}.{payload}"), "malformed_token"),
        ("four parts", format!("{header}.{payload}.c2ln.c2ln"), "malformed_token"),
        ("five parts, RFC 7516 §7.1", format!("{header}....tag"), "encrypted_token"),
        ("six parts", ".....".to_owned(), "malformed_token"),
        ("only dots", "..".to_owned(), "malformed_token"),
        ("no header", format!(".{payload}.c2ln"), "malformed_token"),
        ("detached payload, RFC 7515 appendix F", format!("{header}..c2ln"), "malformed_token"),
        (
            "padding, RFC 7515 §2",
            format!("{}.{payload}.c2ln", URL_SAFE.encode(r#"{"alg":"EdDSA" }"#)),
            "malformed_token",
        ),
        ("padding in the signature", format!("{header}.{payload}.c2k="), "malformed_token"),
        (
            "the standard alphabet",
            format!("{header}.{}.c2ln", STANDARD.encode("{\"a\":\"~~~>>>\"}")),
            "malformed_token",
        ),
        ("a space", format!("{header}.{payload}. c2ln"), "malformed_token"),
        ("a line break", format!("{header}.{payload}.c2\nln"), "malformed_token"),
        ("trailing bits in the payload", format!("{header}.e31.c2ln"), "malformed_token"),
        ("trailing bits in the signature", format!("{header}.e30.c2l"), "malformed_token"),
        ("a length that base64 cannot have", format!("{header}.e30.c2lnc"), "malformed_token"),
        ("letters beyond ASCII", format!("{header}.e30.c2lñ"), "malformed_token"),
        ("a payload that is not UTF-8", format!("{header}.{}.c2ln", encode(b"{\"a\":\"\xff\"}")), "malformed_token"),
        ("a payload that is no object", with_payload("[1]"), "malformed_token"),
        ("a payload that is text", with_payload("hello"), "malformed_token"),
        ("exp twice", with_payload(r#"{"exp":1,"exp":2}"#), "malformed_token"),
        ("exp twice, once escaped", with_payload(r#"{"exp":1,"e\u0078p":2}"#), "malformed_token"),
        ("a role twice, deep inside", with_payload(r#"{"r":[{"a":1,"a":2}]}"#), "malformed_token"),
        ("a number beyond a double", with_payload(r#"{"exp":1e400}"#), "malformed_token"),
        ("text after the object", with_payload("{}{}"), "malformed_token"),
        ("too large", "a".repeat(MAX_TOKEN_SIZE + 1), "token_too_large"),
        ("just small enough", "a".repeat(MAX_TOKEN_SIZE), "malformed_token"),
    ];
    for (name, token, expected) in cases {
        assert_eq!(reason(CompactJws::parse(&token)), expected, "{name}");
    }
}

#[test]
fn each_header_has_its_reason() {
    let cases = [
        ("the least, RFC 7515 §4.1.1", r#"{"alg":"EdDSA"}"#, "accepted"),
        ("Ed25519 by its full name, RFC 9864", r#"{"alg":"Ed25519"}"#, "accepted"),
        ("no typ, RFC 7519 §5.1", r#"{"alg":"ES256","kid":"1"}"#, "accepted"),
        ("typ JWT in any case, RFC 7515 §4.1.9", r#"{"alg":"ES256","typ":"jwt"}"#, "accepted"),
        ("typ with its prefix", r#"{"alg":"ES256","typ":"Application/JWT"}"#, "accepted"),
        ("an access token, RFC 9068 §2.1", r#"{"alg":"ES256","typ":"application/at+jwt"}"#, "accepted"),
        ("an unknown member, RFC 7515 §4", r#"{"alg":"ES256","x":{"y":[1]}}"#, "accepted"),
        ("another cty", r#"{"alg":"ES256","cty":"json"}"#, "accepted"),
        ("a logout token, OpenID Back-Channel Logout §2.4", r#"{"alg":"ES256","typ":"logout+jwt"}"#, "unexpected_type"),
        ("a security event, RFC 8417 §2.3", r#"{"alg":"ES256","typ":"secevent+jwt"}"#, "unexpected_type"),
        ("a DPoP proof, RFC 9449 §4.2", r#"{"alg":"ES256","typ":"dpop+jwt"}"#, "unexpected_type"),
        ("an empty typ", r#"{"alg":"ES256","typ":""}"#, "unexpected_type"),
        ("the prefix twice", r#"{"alg":"ES256","typ":"application/application/jwt"}"#, "unexpected_type"),
        ("JOSE", r#"{"alg":"ES256","typ":"JOSE"}"#, "accepted"),
        ("crit, RFC 7515 §4.1.11", r#"{"alg":"ES256","crit":["exp"],"exp":1}"#, "unsupported_critical"),
        ("an empty crit", r#"{"alg":"ES256","crit":[]}"#, "unsupported_critical"),
        ("crit of null", r#"{"alg":"ES256","crit":null}"#, "unsupported_critical"),
        ("b64, RFC 7797 §3", r#"{"alg":"ES256","b64":true}"#, "unsupported_critical"),
        ("zip, RFC 8725 §3.6", r#"{"alg":"ES256","zip":"DEF"}"#, "unsupported_critical"),
        ("crit before typ and alg", r#"{"alg":"none","typ":"x","crit":[]}"#, "unsupported_critical"),
        ("typ before alg", r#"{"alg":"none","typ":"x"}"#, "unexpected_type"),
        ("a JWE header, RFC 7516 §4.1.2", r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#, "malformed_token"),
        ("a nested token, RFC 7519 §5.2", r#"{"alg":"ES256","cty":"JWT"}"#, "malformed_token"),
        ("a nested token in small letters", r#"{"alg":"ES256","cty":"jwt"}"#, "malformed_token"),
        ("a kid that is a number", r#"{"alg":"ES256","kid":1}"#, "malformed_token"),
        ("a kid that is null", r#"{"alg":"ES256","kid":null}"#, "malformed_token"),
        ("a typ that is a list", r#"{"alg":"ES256","typ":["JWT"]}"#, "malformed_token"),
        ("a cty that is null", r#"{"alg":"ES256","cty":null}"#, "malformed_token"),
        ("no alg", r#"{"typ":"JWT"}"#, "malformed_token"),
        ("an alg that is null", r#"{"alg":null}"#, "malformed_token"),
        ("two algs", r#"{"alg":"ES256","alg":"none"}"#, "malformed_token"),
        ("two algs, one escaped", r#"{"alg":"none","\u0061lg":"ES256"}"#, "malformed_token"),
        ("an array", "[]", "malformed_token"),
        ("an algorithm for encryption", r#"{"alg":"RSA-OAEP"}"#, "algorithm_not_allowed"),
        ("a name in the wrong case, RFC 7515 §4.1.1", r#"{"alg":"es256"}"#, "algorithm_not_allowed"),
        ("an empty alg", r#"{"alg":""}"#, "algorithm_not_allowed"),
    ];
    for (name, header, expected) in cases {
        assert_eq!(reason(CompactJws::parse(&unsigned(header, "{}"))), expected, "{name}");
    }
}

#[test]
fn the_header_is_judged_before_the_payload() {
    let token = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode("not JSON"));
    assert_eq!(reason(CompactJws::parse(&token)), "algorithm_not_allowed");
    // Base64url comes before both, and so does a part that is empty.
    let detached = format!("{}..c2ln", encode(r#"{"alg":"none"}"#));
    assert_eq!(reason(CompactJws::parse(&detached)), "malformed_token");
    let token = format!("{}.{}.c2ln", encode(r#"{"alg":"none"}"#), "not base64url");
    assert_eq!(reason(CompactJws::parse(&token)), "malformed_token");
}

#[test]
fn registered_claims_are_there_or_wrong_or_absent() {
    let claims = claims_set(PAYLOAD);
    assert_eq!(claims.issuer(), Claim::Is("https://issuer.example.com"));
    assert_eq!(claims.audience().value().unwrap(), ["a", "b"]);
    assert_eq!(claims.expiration(), Claim::Is(4_102_444_800.0));
    assert_eq!(claims.not_before(), Claim::Absent);
    assert_eq!(claims.issued_at(), Claim::Is(1.5));
    assert_eq!(claims.token_type(), Some(TokenType::Jwt));
    assert_eq!(claims.members()["sub"].get(), "\"u-1\"");
    assert_eq!((claims.raw(), claims.encoded()), (PAYLOAD.as_bytes(), &*encode(PAYLOAD)));
    assert!(claims.members().contains_key("sub") && !claims.members().contains_key("su") && !claims.has_token_hash());
    assert_eq!(format!("{claims:?}"), "ClaimsSet { .. }");

    let odd = claims_set(r#"{"iss":["x"],"aud":["a",1],"exp":"1","nbf":null,"iat":{},"c_hash":null,"\u0073ub":"é"}"#);
    assert_eq!(odd.issuer(), Claim::WrongType);
    assert_eq!(odd.audience(), Claim::WrongType);
    assert_eq!([odd.expiration(), odd.not_before(), odd.issued_at()], [Claim::WrongType; 3]);
    assert!(odd.has_token_hash() && odd.members().contains_key("sub"));
}
