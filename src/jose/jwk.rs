//! JWK sets (RFC 7517) and the keys in them. The algorithm is bound to the key: a token's header only has to agree.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents, VerificationAlgorithm};
use base64::Engine;
use base64::alphabet::{self, Alphabet};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::algorithm::{Algorithm, AlgorithmSet};
use super::claims_set::ClaimsSet;
use super::jws::CompactJws;
use super::strict_json::{Flaw, Members, Object, Value};
use crate::denial::Denial;

/// The most keys that a set may have.
pub const MAX_KEYS: usize = 256;

/// The keys of a JWK set: those that can verify a token here, and what is wrong with the others.
#[derive(Debug)]
pub struct JwkSet {
    /// In the order of the set.
    pub usable: Vec<VerificationKey>,
    /// In the order of the set.
    pub unusable: Vec<UnusableKey>,
}

impl JwkSet {
    /// Reads a set. Each key stands for itself: an odd one is unusable and takes no other with it. Only what
    /// no parser could read past, such as broken syntax or a lone surrogate, loses the set.
    pub fn parse(json: &[u8], allowed: AlgorithmSet) -> Result<Self, MalformedJwkSet> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(borrow)]
            keys: Vec<Object<'a>>,
        }
        // What is derived would read an array as a struct too.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(MalformedJwkSet::NotAJwkSet { line: 1, column: 1 });
        }
        // The text of the error is left out: it may quote the value that was found.
        let not_a_set = |e: serde_json::Error| MalformedJwkSet::NotAJwkSet { line: e.line(), column: e.column() };
        let json = std::str::from_utf8(json).map_err(|_| MalformedJwkSet::NotUtf8)?;
        let Wire { keys } = serde_json::from_str(json).map_err(not_a_set)?;
        if keys.len() > MAX_KEYS {
            return Err(MalformedJwkSet::TooManyKeys { count: keys.len() });
        }
        let mut set = Self { usable: Vec::new(), unusable: Vec::new() };
        for Object(members) in keys {
            match VerificationKey::from_members(members, allowed) {
                Ok(key) => set.usable.push(key),
                Err(key) => set.unusable.push(key),
            }
        }
        Ok(set)
    }
}

/// Why bytes are no JWK set. Says where, never what stands there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MalformedJwkSet {
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Not a JSON object with one array `keys`.
    #[error("not a JWK set: line {line}, column {column}")]
    NotAJwkSet {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// More than [`MAX_KEYS`].
    #[error("{count} keys, at most {MAX_KEYS} are accepted")]
    TooManyKeys {
        /// How many.
        count: usize,
    },
}

/// A key of a set that cannot verify a token here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnusableKey {
    /// Its `kid`, where that is a string.
    pub kid: Option<String>,
    /// What is wrong with it, as in "its use is enc"; never key material.
    pub reason: String,
}

/// A public key, parsed once for each algorithm that it may be used with.
pub struct VerificationKey {
    key_id: Option<Arc<str>>,
    algorithms: AlgorithmSet,
    thumbprint: [u8; 32],
    parsed: Vec<(Algorithm, ParsedPublicKey)>,
}

impl VerificationKey {
    /// Its `kid`.
    pub fn kid(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The same, to be kept with what it verified.
    pub(crate) fn shared_kid(&self) -> Option<Arc<str>> {
        self.key_id.clone()
    }

    /// What it may verify: what fits its type, narrowed by its `alg` and by the settings. Never empty.
    pub fn algorithms(&self) -> AlgorithmSet {
        self.algorithms
    }

    /// Its SHA-256 JWK thumbprint (RFC 7638 §3).
    pub fn thumbprint(&self) -> [u8; 32] {
        self.thumbprint
    }

    /// Verifies a token's signature: the only way to a [`ClaimsSet`].
    pub fn verify<'j>(&self, jws: &'j CompactJws<'_>) -> Result<ClaimsSet<'j>, Denial> {
        self.verify_signature(jws.header().alg(), jws.signing_input(), jws.signature())?;
        Ok(ClaimsSet::of(jws))
    }

    pub(super) fn verify_signature(&self, algorithm: Algorithm, input: &[u8], signature: &[u8]) -> Result<(), Denial> {
        let Some((_, key)) = self.parsed.iter().find(|(permitted, _)| *permitted == algorithm) else {
            return Err(Denial::AlgorithmNotAllowed(format!("{algorithm}, the key is for {}", self.algorithms).into()));
        };
        // Hashed here where it can be: AWS-LC copies all of its state before it ends the hash itself.
        let verified = match digest_of(algorithm) {
            Some(hash) => key.verify_digest_sig(&digest::digest(hash, input), signature),
            None => key.verify_sig(input, signature),
        };
        verified.map_err(|_| Denial::InvalidSignature(format!("{algorithm} with {self}").into()))
    }

    fn from_members(members: Result<Members<'_>, Flaw>, allowed: AlgorithmSet) -> Result<Self, UnusableKey> {
        let jwk = match members {
            Ok(members) => Jwk(members),
            Err(flaw) => return Err(UnusableKey { kid: None, reason: flaw.to_string() }),
        };
        let kid = jwk.text("kid").ok().flatten().map(str::to_owned);
        Self::from_jwk(&jwk, allowed).map_err(|reason| UnusableKey { kid, reason })
    }

    fn from_jwk(jwk: &Jwk<'_>, allowed: AlgorithmSet) -> Result<Self, String> {
        let key_id = jwk.text("kid")?.map(Arc::from);
        let key = jwk.public_key()?;
        jwk.check_intended_use()?;
        let declared = jwk.declared_algorithms(key.fitting)?;
        let algorithms = declared.intersection(allowed);
        if algorithms.is_empty() {
            return Err(format!("{declared} is not among the accepted algorithms"));
        }
        let parse = |algorithm| ParsedPublicKey::new(verification(algorithm), &key.octets).map(|key| (algorithm, key));
        let parsed = algorithms.iter().map(parse).collect::<Result<_, _>>().map_err(|_| key.invalid.to_owned())?;
        Ok(Self { key_id, algorithms, thumbprint: sha256(&key.thumbprint_input), parsed })
    }
}

impl fmt::Display for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key_id {
            Some(kid) => write!(f, "key {kid:?}"),
            None => f.write_str("a key without kid"),
        }
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = f.debug_struct("VerificationKey");
        key.field("kid", &self.key_id).field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

fn verification(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
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

/// What the message is hashed with before it is signed; `None` where the algorithm takes the message itself.
fn digest_of(algorithm: Algorithm) -> Option<&'static digest::Algorithm> {
    match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => Some(&digest::SHA256),
        Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 => Some(&digest::SHA384),
        Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::Es512 => Some(&digest::SHA512),
        Algorithm::EdDsa | Algorithm::Ed25519 => None,
    }
}

fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    hash
}

const RSA: AlgorithmSet = AlgorithmSet::of(&[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
]);
const ED25519: AlgorithmSet = AlgorithmSet::of(&[Algorithm::EdDsa, Algorithm::Ed25519]);

/// A public key in the form that the library parses.
struct PublicKey {
    octets: Vec<u8>,
    /// The algorithms that fit its type and curve.
    fitting: AlgorithmSet,
    /// RFC 7638 §3.2, the values in their canonical encoding.
    thumbprint_input: String,
    /// What to say when the library refuses it.
    invalid: &'static str,
}

/// One key as it stands in the set.
struct Jwk<'a>(Members<'a>);

impl Jwk<'_> {
    fn public_key(&self) -> Result<PublicKey, String> {
        // RFC 7518 §6.2.2, §6.3.2, §6.4.1: an issuer that publishes these has lost the key, or it is no public one.
        const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        let kty = self.required("kty")?;
        if !matches!(kty, "RSA" | "EC" | "OKP") {
            return Err(format!("its kty is {}", shown(kty)));
        }
        if PRIVATE.into_iter().any(|name| self.member(name).is_some()) {
            return Err("has private members".to_owned());
        }
        match kty {
            "RSA" => self.rsa(),
            "EC" => self.elliptic_curve(),
            _ => self.octet_key_pair(),
        }
    }

    /// RFC 7517 §4.2, §4.3.
    fn check_intended_use(&self) -> Result<(), String> {
        match self.text("use")? {
            None | Some("sig") => {}
            Some(other) => return Err(format!("its use is {}", shown(other))),
        }
        match self.member("key_ops") {
            None => Ok(()),
            Some(Value::Strings(operations)) if operations.iter().any(|operation| operation == "verify") => Ok(()),
            Some(Value::Strings(_)) => Err("its key_ops do not include verify".to_owned()),
            Some(_) => Err("its key_ops is not an array of strings".to_owned()),
        }
    }

    /// RFC 7517 §4.4.
    fn declared_algorithms(&self, fitting: AlgorithmSet) -> Result<AlgorithmSet, String> {
        let Some(name) = self.text("alg")? else { return Ok(fitting) };
        let refusal = |_| format!("its alg is {}", shown(name));
        let algorithm = name.parse().map_err(refusal)?;
        let declared = if ED25519.contains(algorithm) { ED25519 } else { AlgorithmSet::of(&[algorithm]) };
        if fitting.contains(algorithm) {
            Ok(declared)
        } else {
            Err(format!("its alg {algorithm} does not fit its type, only {fitting} would"))
        }
    }

    /// RFC 7518 §6.3.1.
    fn rsa(&self) -> Result<PublicKey, String> {
        let (n, e) = (self.octets("n")?, self.octets("e")?);
        let (n, e) = (without_leading_zeros(&n), without_leading_zeros(&e));
        let bits =
            n.first().map_or(0, |first| n.len().saturating_mul(8).saturating_sub(first.leading_zeros() as usize));
        match bits {
            0..2048 => return Err(format!("RSA modulus of {bits} bits, at least 2048 are required")),
            2048..=8192 => {}
            _ => return Err(format!("RSA modulus of {bits} bits, at most 8192 are accepted")),
        }
        // An exponent of 1 makes any message its own signature; one beyond 32 bits only costs time.
        if is_even(n) || is_even(e) || e == [1] || e.len() > 4 {
            return Err("its RSA modulus or exponent is not one of a sound key".to_owned());
        }
        let invalid = "its n and e are not a valid RSA public key";
        let der = RsaPublicKeyComponents { n, e }.as_der().map_err(|_| invalid.to_owned())?;
        let (encoded_n, encoded_e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        Ok(PublicKey {
            octets: der.as_ref().to_vec(),
            fitting: RSA,
            thumbprint_input: format!(r#"{{"e":"{encoded_e}","kty":"RSA","n":"{encoded_n}"}}"#),
            invalid,
        })
    }

    /// RFC 7518 §6.2.1.
    fn elliptic_curve(&self) -> Result<PublicKey, String> {
        let crv = self.required("crv")?;
        let (algorithm, size) = match crv {
            "P-256" => (Algorithm::Es256, 32),
            "P-384" => (Algorithm::Es384, 48),
            "P-521" => (Algorithm::Es512, 66),
            other => return Err(format!("its crv is {}", shown(other))),
        };
        let (x, y) = (self.octets("x")?, self.octets("y")?);
        if x.len() != size || y.len() != size {
            return Err(format!("coordinates of {} and {} octets, {crv} has {size}", x.len(), y.len()));
        }
        let (encoded_x, encoded_y) = (URL_SAFE_NO_PAD.encode(&x), URL_SAFE_NO_PAD.encode(&y));
        Ok(PublicKey {
            // SEC 1 §2.3.3: an uncompressed point.
            octets: [&[4], x.as_slice(), &y].concat(),
            fitting: AlgorithmSet::of(&[algorithm]),
            thumbprint_input: format!(r#"{{"crv":"{crv}","kty":"EC","x":"{encoded_x}","y":"{encoded_y}"}}"#),
            invalid: "its x and y are not a point on the curve",
        })
    }

    /// RFC 8037 §2.
    fn octet_key_pair(&self) -> Result<PublicKey, String> {
        let crv = self.required("crv")?;
        if crv != "Ed25519" {
            return Err(format!("its crv is {}", shown(crv)));
        }
        let x = self.octets("x")?;
        // The library would also read DER here.
        if x.len() != signature::ED25519_PUBLIC_KEY_LEN {
            return Err(format!("its x has {} octets, Ed25519 has 32", x.len()));
        }
        Ok(PublicKey {
            fitting: ED25519,
            thumbprint_input: format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(&x)),
            octets: x,
            invalid: "its x is not an Ed25519 public key",
        })
    }

    /// Issuers write `null` for what is absent, and an empty list for no entries.
    fn member(&self, name: &str) -> Option<&Value<'_>> {
        let found = self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value);
        let is_empty = |value: &Value<'_>| matches!(value, Value::Strings(texts) if texts.is_empty());
        found.filter(|value| !(matches!(value, Value::Null) || is_empty(value) && matches!(name, "oth" | "key_ops")))
    }

    fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.member(name).map(Value::as_str) {
            Some(None) => Err(format!("its {name} is not a string")),
            found => Ok(found.flatten()),
        }
    }

    fn required(&self, name: &str) -> Result<&str, String> {
        self.text(name)?.ok_or_else(|| format!("it has no {name}"))
    }

    /// Issuers get the encoding wrong; the octets are the same, so padding and the other alphabet are tolerated.
    fn octets(&self, name: &str) -> Result<Vec<u8>, String> {
        let text = self.required(name)?;
        let engine = if text.contains(['+', '/']) { STANDARD } else { URL_SAFE };
        engine.decode(text).map_err(|_| format!("its {name} is not base64url"))
    }
}

const URL_SAFE: GeneralPurpose = with_any_padding(&alphabet::URL_SAFE);
const STANDARD: GeneralPurpose = with_any_padding(&alphabet::STANDARD);

const fn with_any_padding(alphabet: &Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, config)
}

fn without_leading_zeros(mut octets: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = octets {
        octets = rest;
    }
    octets
}

fn is_even(octets: &[u8]) -> bool {
    octets.last().is_none_or(|last| last % 2 == 0)
}

/// A value that is short enough to be a name; anything else might be key material in the wrong place.
fn shown(value: &str) -> &str {
    let is_name = value.len() <= 24 && value.bytes().all(|byte| byte.is_ascii_graphic());
    if is_name { value } else { "not one that is known" }
}
