//! What verifying a token costs beside the bare signature check, for each algorithm: `cargo bench --bench verify`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on says so by panicking")]
#![expect(clippy::print_stdout, reason = "the table")]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests' support; here only keys and tokens")]
mod support;

mod sample;

use std::hint::black_box;

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use claimgate::jose::{Algorithm, AlgorithmSet, CompactJws, JwkSet};
use serde_json::json;

use self::sample::{median, per_call, ratio};
use self::support::{Key, Token};

const SAMPLES: usize = 101;
/// So that the token has about 848 bytes with RS256.
const FILLER: usize = 238;

fn main() {
    println!("| algorithm | bare check | with parsing | of it parsing | overhead |");
    println!("|---|---|---|---|---|");
    for algorithm in Algorithm::ALL {
        measure(algorithm);
    }
}

fn measure(algorithm: Algorithm) {
    let key = Key::new(algorithm.name(), "bench-1");
    let token = Token::new("https://issuer.example.com", &key).claim("groups", "g".repeat(FILLER)).sign();
    let set = json!({ "keys": [key.jwk()] }).to_string();
    let set = JwkSet::parse(set.as_bytes(), AlgorithmSet::ALL).unwrap();
    let [verification_key] = set.usable.as_slice() else { panic!("one usable key: {set:?}") };
    let public_key = ParsedPublicKey::new(signature_check(algorithm), key.public_bytes()).unwrap();
    let jws = CompactJws::parse(&token).unwrap();

    let bare = || public_key.verify_sig(black_box(jws.signing_input()), black_box(jws.signature())).unwrap();
    let whole = || verification_key.verify(&CompactJws::parse(black_box(&token)).unwrap()).unwrap();
    let parse = || CompactJws::parse(black_box(&token)).unwrap();
    let (mut bares, mut wholes, mut parses) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        bares.push(per_call(bare));
        wholes.push(per_call(whole));
        parses.push(per_call(parse));
    }
    let overhead = (ratio(&wholes, &bares) - 1.0) * 100.0;
    let micros = |samples: &[f64]| median(samples) * 1e6;
    println!(
        "| {algorithm} | {:.2} µs | {:.2} µs | {:.2} µs | {overhead:.1} % |",
        micros(&bares),
        micros(&wholes),
        micros(&parses)
    );
}

fn signature_check(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        Algorithm::EdDsa | Algorithm::Ed25519 => &signature::ED25519,
    }
}
