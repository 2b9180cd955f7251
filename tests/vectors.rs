//! Tokens that were published by others.

use claimgate::denial::Denial;
use claimgate::jose::{Algorithm, AlgorithmSet, Claim, ClaimsSet, CompactJws, JwkSet};
use serde_json::{Value, json};

/// RFC 7515 appendix A: `{"iss":"joe", "exp":1300819380, "http://example.com/is_root":true}`.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const A2_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujG\
    bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383\
    LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB\
    p0igcN_IoypGlUPQGe77Rw";

const A3_SIGNATURE: &str = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

/// RFC 7520 §4: "It\u{2019}s a dangerous business, Frodo, going out your door. …"
const FRODO: &str = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0\
    aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3Z\
    XB0IG9mZiB0by4";

fn a2_key() -> Value {
    json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJ\
        rcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re\
        xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco\
        9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"})
}

fn a3_key() -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
}

/// Leaks the token: the claims are looked at when it is gone.
fn verify(key: &Value, token: &str) -> Result<ClaimsSet<'static>, Denial> {
    let set = json!({"keys": [key]}).to_string();
    let set = JwkSet::parse(set.as_bytes(), Algorithm::ALL.into_iter().collect::<AlgorithmSet>()).unwrap();
    set.usable[0].verify(Box::leak(Box::new(CompactJws::parse(token.to_owned().leak())?)))
}

#[test]
fn the_signed_tokens_of_rfc_7515_verify_with_their_keys_only() {
    let rs256 = format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}.{A2_SIGNATURE}");
    let es256 = format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}.{A3_SIGNATURE}");
    for (key, own, foreign) in [(a2_key(), &rs256, &es256), (a3_key(), &es256, &rs256)] {
        let claims = verify(&key, own).unwrap();
        assert_eq!(claims.issuer(), Claim::Is("joe"));
        assert_eq!(claims.expiration(), Claim::Is(1_300_819_380.0));
        assert_eq!(verify(&key, foreign).unwrap_err().row().reason, "algorithm_not_allowed");
    }
}

#[test]
fn what_no_key_of_an_issuer_can_have_signed_is_refused_as_it_is_read() {
    let cases = [
        // RFC 7515 appendix A.1.
        (
            format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "algorithm_not_allowed",
        ),
        // RFC 7515 appendix A.5, RFC 7519 §6.1.
        (format!("eyJhbGciOiJub25lIn0.{PAYLOAD}."), "algorithm_not_allowed"),
        // RFC 7515 appendix A.4: the payload is the word "Payload".
        (format!("eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.{A3_SIGNATURE}"), "malformed_token"),
        // RFC 7520 §4.4.
        (
            format!(
                "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.{FRODO}.\
                 s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0"
            ),
            "algorithm_not_allowed",
        ),
        // RFC 7520 §4.5: the payload is elsewhere.
        (
            "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9..s0h6KThzkfBBBkLspW1h84V\
             sJZFTsPPqMDA7g1Md7p0"
                .to_owned(),
            "malformed_token",
        ),
        // RFC 7797 §4.2: `{"alg":"HS256","b64":false,"crit":["b64"]}`.
        (
            "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19..A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY"
                .to_owned(),
            "malformed_token",
        ),
        // The same with its payload, in letters that could be base64url.
        (
            "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19.eyJh.A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY"
                .to_owned(),
            "unsupported_critical",
        ),
        // RFC 7515 appendix E: `{"alg":"none", "crit":["http://example.invalid/UNDEFINED"], …}`.
        (
            "eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxlLmNv\
             bS9VTkRFRklORUQiOnRydWUNCn0.RkFJTA."
                .to_owned(),
            "unsupported_critical",
        ),
    ];
    for (token, expected) in cases {
        let seen = verify(&a2_key(), &token).unwrap_err().row().reason;
        assert_eq!(seen, expected, "{token}");
    }
}
