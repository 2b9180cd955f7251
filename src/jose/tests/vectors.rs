//! Signatures that others published, most of them over texts that are no JWT: as tokens, those are refused
//! (`tests/vectors.rs`).

use super::*;

/// RFC 7520 §4: "It\u{2019}s a dangerous business, Frodo, going out your door. …"
const FRODO: &str = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0\
    aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3Z\
    XB0IG9mZiB0by4";

/// RFC 7520 §3.3.
const N: &str = "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRB\
    SFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI\
    9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5ia\
    iQkqgc5gHdrNP5zw";

const RS256: &str = "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7P\
    NDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt\
    8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84o\
    goree7vjbU5y18kDquDg";

const PS384: &str = "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dD\
    DItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3l\
    m8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjw\
    Z6oD4ifKo8DYM-X72Eaw";

const ES512: &str = "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPB\
    u_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2";

const APPENDIX_A4: &str = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG\
    8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";

const ED25519_SIGNATURE: &str =
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

struct Published {
    source: &'static str,
    key: Value,
    algorithm: Algorithm,
    input: String,
    signature: &'static str,
}

fn published() -> [Published; 5] {
    let of_bilbo = |mut key: Value| {
        key["kid"] = json!("bilbo.baggins@hobbiton.example");
        key["use"] = json!("sig");
        key
    };
    let rsa = || of_bilbo(json!({"kty": "RSA", "n": N, "e": "AQAB"}));
    let p521 = |x: &str, y: &str| json!({"kty": "EC", "crv": "P-521", "x": x, "y": y});
    let input = |alg: &str| {
        let header = format!(r#"{{"alg":"{alg}","kid":"bilbo.baggins@hobbiton.example"}}"#);
        format!("{}.{FRODO}", encode(header))
    };
    [
        Published {
            source: "RFC 7520 §4.1",
            key: rsa(),
            algorithm: Algorithm::Rs256,
            input: input("RS256"),
            signature: RS256,
        },
        Published {
            source: "RFC 7520 §4.2",
            key: rsa(),
            algorithm: Algorithm::Ps384,
            input: input("PS384"),
            signature: PS384,
        },
        Published {
            source: "RFC 7520 §4.3",
            key: of_bilbo(p521(
                "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
                "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1",
            )),
            algorithm: Algorithm::Es512,
            input: input("ES512"),
            signature: ES512,
        },
        Published {
            source: "RFC 7515 appendix A.4",
            key: p521(
                "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
                "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
            ),
            algorithm: Algorithm::Es512,
            input: "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA".to_owned(),
            signature: APPENDIX_A4,
        },
        Published {
            source: "RFC 8037 appendix A.4",
            key: json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            algorithm: Algorithm::EdDsa,
            input: "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
            signature: ED25519_SIGNATURE,
        },
    ]
}

#[test]
fn published_signatures_verify_with_their_algorithm_over_their_text_only() {
    for Published { source, key, algorithm, input, signature } in published() {
        let key = only_key(&key);
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        key.verify_signature(algorithm, input.as_bytes(), &signature).expect(source);
        assert_eq!(
            reason(CompactJws::parse(&format!("{input}.{}", encode(&signature)))),
            "malformed_token",
            "{source}"
        );

        let twin = if algorithm == Algorithm::EdDsa { Algorithm::Ed25519 } else { algorithm };
        for other in Algorithm::ALL.into_iter().filter(|other| ![algorithm, twin].contains(other)) {
            let seen = reason(key.verify_signature(other, input.as_bytes(), &signature));
            assert!(matches!(seen, "algorithm_not_allowed" | "invalid_signature"), "{source} as {other}: {seen}");
        }
        let flipped = |octets: &[u8]| {
            let mut octets = octets.to_vec();
            *octets.last_mut().unwrap() ^= 1;
            octets
        };
        let seen = reason(key.verify_signature(algorithm, &flipped(input.as_bytes()), &signature));
        assert_eq!(seen, "invalid_signature", "{source}, another text");
        let seen = reason(key.verify_signature(algorithm, input.as_bytes(), &flipped(&signature)));
        assert_eq!(seen, "invalid_signature", "{source}, another signature");
    }
}
