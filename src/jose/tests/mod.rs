//! Tokens signed by `jsonwebtoken`, as an independent witness, and for ES512, which it lacks, by the crypto library.

mod attacks;
mod keys;
mod tokens;
mod vectors;

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::{Value, json};

use super::*;
use crate::denial::Denial;

const PAYLOAD: &str = r#"{"iss":"https://issuer.example.com","sub":"u-1","aud":["a","b"],"exp":4102444800,"iat":1.5}"#;

struct Signer {
    key: Key,
    /// What its issuer would publish, with `kid` `k` and without `alg`.
    jwk: Value,
}

enum Key {
    Witness(EncodingKey),
    P521(EcdsaKeyPair),
}

static RSA: LazyLock<Signer> = LazyLock::new(|| {
    let der = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap().as_der().unwrap();
    // PEM, since it reads PKCS#1 as DER and PKCS#8 only so.
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
    Signer::witness(EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), Algorithm::Rs256)
});
static P256: LazyLock<Signer> = LazyLock::new(|| elliptic_curve(&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::Es256));
static P384: LazyLock<Signer> = LazyLock::new(|| elliptic_curve(&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::Es384));
static ED25519: LazyLock<Signer> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
    Signer::witness(EncodingKey::from_ed_der(pair.as_ref()), Algorithm::EdDsa)
});
static P521: LazyLock<Signer> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(66);
    let jwk = json!({"kty": "EC", "crv": "P-521", "x": encode(x), "y": encode(y), "kid": "k"});
    Signer { key: Key::P521(pair), jwk }
});

fn elliptic_curve(parameters: &'static EcdsaSigningAlgorithm, algorithm: Algorithm) -> Signer {
    let der = EcdsaKeyPair::generate(parameters).unwrap().to_pkcs8v1().unwrap();
    Signer::witness(EncodingKey::from_ec_der(der.as_ref()), algorithm)
}

fn signer(algorithm: Algorithm) -> &'static Signer {
    match algorithm {
        Algorithm::Es256 => &P256,
        Algorithm::Es384 => &P384,
        Algorithm::Es512 => &P521,
        Algorithm::EdDsa | Algorithm::Ed25519 => &ED25519,
        _ => &RSA,
    }
}

/// How `jsonwebtoken` calls it.
fn witnessed(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    let name = if algorithm == Algorithm::Ed25519 { "EdDSA" } else { algorithm.name() };
    name.parse().unwrap()
}

impl Signer {
    fn witness(key: EncodingKey, algorithm: Algorithm) -> Self {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, witnessed(algorithm)).unwrap()).unwrap();
        jwk.as_object_mut().unwrap().remove("alg");
        jwk["kid"] = json!("k");
        Self { key: Key::Witness(key), jwk }
    }

    fn sign(&self, algorithm: Algorithm, message: &str) -> String {
        match &self.key {
            Key::Witness(key) => jsonwebtoken::crypto::sign(message.as_bytes(), key, witnessed(algorithm)).unwrap(),
            Key::P521(pair) => encode(pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap()),
        }
    }

    fn verification_key(&self) -> VerificationKey {
        only_key(&self.jwk)
    }
}

/// A token signed with the test key of `algorithm`, whatever its header says.
fn token(algorithm: Algorithm, header: &str, payload: &str) -> String {
    let message = format!("{}.{}", encode(header), encode(payload));
    let signature = signer(algorithm).sign(algorithm, &message);
    format!("{message}.{signature}")
}

fn header(algorithm: Algorithm) -> String {
    json!({"alg": algorithm.name(), "kid": "k", "typ": "JWT"}).to_string()
}

fn encode(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

fn key_set(keys: &[Value]) -> JwkSet {
    JwkSet::parse(json!({"keys": keys}).to_string().as_bytes(), AlgorithmSet::ALL).unwrap()
}

fn only_key(jwk: &Value) -> VerificationKey {
    let mut set = key_set(std::slice::from_ref(jwk));
    assert_eq!(set.unusable, []);
    set.usable.remove(0)
}

/// Leaks the token: a test looks at its claims when it is gone.
fn verify(key: &VerificationKey, token: &str) -> Result<ClaimsSet<'static>, Denial> {
    key.verify(Box::leak(Box::new(CompactJws::parse(token.to_owned().leak())?)))
}

fn reason<T>(result: Result<T, Denial>) -> &'static str {
    result.err().map_or("accepted", |denial| denial.row().reason)
}

/// A claims set that was really signed, for the tests of the rooms above.
pub(crate) fn claims_set(payload: &str) -> ClaimsSet<'static> {
    verify(&ED25519.verification_key(), &token(Algorithm::EdDsa, &header(Algorithm::EdDsa), payload)).unwrap()
}
