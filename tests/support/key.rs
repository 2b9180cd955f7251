//! Signing keys of every algorithm, and what can be done wrong with them.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Every algorithm that a gate verifies.
pub(crate) const ALGORITHMS: [&str; 11] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"];

/// A private key, the `kid` it is published under and the `alg` it is meant for.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) alg: &'static str,
    pair: Arc<Pair>,
}

#[derive(Debug)]
enum Pair {
    Rsa(&'static RsaKeyPair),
    Ecdsa { fixed: EcdsaKeyPair, pkcs8: Vec<u8>, curve: &'static str },
    Ed25519(Ed25519KeyPair),
}

/// Making an RSA key takes long enough to do it but twice.
static RSA: [LazyLock<RsaKeyPair>; 2] = [LazyLock::new(rsa_key_pair), LazyLock::new(rsa_key_pair)];

fn rsa_key_pair() -> RsaKeyPair {
    RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap()
}

impl Key {
    /// A new key for `alg` (RSA: always the same one).
    pub(crate) fn new(alg: &'static str, kid: &str) -> Self {
        let pair = match alg {
            "ES256" => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            "ES384" => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            "ES512" => ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
            "EdDSA" | "Ed25519" => Pair::Ed25519(Ed25519KeyPair::generate().unwrap()),
            _ => Pair::Rsa(&RSA[0]),
        };
        Self { kid: kid.to_owned(), alg, pair: Arc::new(pair) }
    }

    /// A key of the same `kid` and `alg` that somebody else made.
    pub(crate) fn forged(&self) -> Self {
        match &*self.pair {
            Pair::Rsa(_) => Self { pair: Arc::new(Pair::Rsa(&RSA[1])), ..self.clone() },
            _ => Self::new(self.alg, &self.kid),
        }
    }

    /// The same key for another algorithm.
    pub(crate) fn with_alg(&self, alg: &'static str) -> Self {
        Self { alg, ..self.clone() }
    }

    /// The same key under another name.
    pub(crate) fn with_kid(&self, kid: &str) -> Self {
        Self { kid: kid.to_owned(), ..self.clone() }
    }

    /// RFC 7517: the public half, with `kid`, `alg` and `use`.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &*self.pair {
            Pair::Rsa(pair) => json!({"kty": "RSA", "n": base64url(modulus(pair.public_key().as_ref())), "e": "AQAB"}),
            Pair::Ecdsa { fixed, curve, .. } => {
                // SEC 1 §2.3.3: 04, then both coordinates.
                let coordinates = &fixed.public_key().as_ref()[1..];
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())})
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.alg);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The bytes of the public key, as a forger would use them for an HMAC.
    pub(crate) fn public_bytes(&self) -> &[u8] {
        match &*self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref(),
            Pair::Ecdsa { fixed, .. } => fixed.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    /// RFC 7518 §3: the JWS signature.
    pub(crate) fn sign(&self, input: &[u8]) -> Vec<u8> {
        match &*self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(rsa_encoding(self.alg), &SystemRandom::new(), input, &mut signature).unwrap();
                signature
            }
            Pair::Ecdsa { fixed, .. } => fixed.sign(&SystemRandom::new(), input).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(input).as_ref().to_vec(),
        }
    }

    /// An ES256 signature as TLS writes it, which a JWS must not.
    pub(crate) fn sign_in_der(&self, input: &[u8]) -> Vec<u8> {
        let Pair::Ecdsa { pkcs8, .. } = &*self.pair else { panic!("only ECDSA signatures have a DER form") };
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).unwrap();
        pair.sign(&SystemRandom::new(), input).unwrap().as_ref().to_vec()
    }
}

/// RFC 7518 §3.2, with any secret.
pub(crate) fn hs256(secret: &[u8], input: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input).as_ref().to_vec()
}

/// RFC 7515 §2.
pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm, curve: &'static str) -> Pair {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap().as_ref().to_vec();
    Pair::Ecdsa { fixed: EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8).unwrap(), pkcs8, curve }
}

/// RFC 8017 A.1.1 for 2048 bits and e = 65537: SEQUENCE, INTEGER n of 257 bytes with its leading zero, INTEGER e.
fn modulus(public_key: &[u8]) -> &[u8] {
    assert_eq!(public_key.len(), 270);
    &public_key[9..265]
}

fn rsa_encoding(alg: &str) -> &'static dyn RsaEncoding {
    match alg {
        "RS256" => &RSA_PKCS1_SHA256,
        "RS384" => &RSA_PKCS1_SHA384,
        "RS512" => &RSA_PKCS1_SHA512,
        "PS256" => &RSA_PSS_SHA256,
        "PS384" => &RSA_PSS_SHA384,
        "PS512" => &RSA_PSS_SHA512,
        _ => panic!("{alg} is not an RSA algorithm"),
    }
}
