//! The signature algorithms that may be verified.

use std::fmt;
use std::str::FromStr;

/// A digital signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2).
///
/// `none` and HMAC have no representation, so no key and no setting can permit them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// `EdDSA`; of its curves only Ed25519.
    EdDsa,
    /// The same by its fully specified name.
    Ed25519,
}

impl Algorithm {
    /// Every algorithm, in the order of the specifications.
    pub const ALL: [Self; 11] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
        Self::Ed25519,
    ];

    /// Its registered name: the value of `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Not the name of an algorithm that can be verified here.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a supported signature algorithm")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// `alg` is case-sensitive (RFC 7515 §4.1.1).
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or(UnknownAlgorithm)
    }
}

/// Why an algorithm that others accept is not accepted here; `None` where the name is just not known. In any case: the
/// wrong one is refused anyway, and the reason is the same.
pub fn refused_on_purpose(name: &str) -> Option<&'static str> {
    if ["HS256", "HS384", "HS512"].iter().any(|hmac| hmac.eq_ignore_ascii_case(name)) {
        return Some("it is refused on purpose: who can check an HMAC can forge one; use a public key, such as ES256");
    }
    name.eq_ignore_ascii_case("none").then_some("it is refused on purpose: what is not signed proves nothing")
}

/// A set of algorithms.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct AlgorithmSet(u16);

impl AlgorithmSet {
    /// No algorithm.
    pub const EMPTY: Self = Self(0);

    /// Every algorithm.
    pub const ALL: Self = Self::of(&Algorithm::ALL);

    /// The algorithms listed.
    pub const fn of(algorithms: &[Algorithm]) -> Self {
        let (mut bits, mut rest) = (0, algorithms);
        while let [algorithm, others @ ..] = rest {
            bits |= algorithm.bit();
            rest = others;
        }
        Self(bits)
    }

    /// Adds one.
    pub const fn insert(&mut self, algorithm: Algorithm) {
        self.0 |= algorithm.bit();
    }

    /// Whether it is among them.
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & algorithm.bit() != 0
    }

    /// Those that are in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its members in the order of [`Algorithm::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.into_iter().filter(move |algorithm| self.contains(*algorithm))
    }
}

impl FromIterator<Algorithm> for AlgorithmSet {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Self {
        algorithms.into_iter().fold(Self::EMPTY, |mut set, algorithm| {
            set.insert(algorithm);
            set
        })
    }
}

impl fmt::Display for AlgorithmSet {
    /// The names, as in `RS256, PS256`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, algorithm) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{algorithm}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for AlgorithmSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_in_no_other_case() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            assert!(algorithm.name().to_lowercase().parse::<Algorithm>().is_err(), "{algorithm}");
        }
        for name in ["none", "None", "HS256", "HS384", "HS512", "RSA-OAEP", "ES256K", "Ed448", "", "RS256 "] {
            assert!(name.parse::<Algorithm>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_set_holds_what_was_inserted_and_nothing_else() {
        let set: AlgorithmSet = [Algorithm::Es512, Algorithm::Rs256].into_iter().collect();
        assert_eq!(set.to_string(), "RS256, ES512");
        assert!(set.contains(Algorithm::Es512) && !set.contains(Algorithm::Es384));
        assert_eq!(set.intersection(AlgorithmSet::of(&[Algorithm::Es512])).to_string(), "ES512");
        assert_eq!(AlgorithmSet::ALL.iter().count(), Algorithm::ALL.len());
        assert!(AlgorithmSet::EMPTY.is_empty() && !set.is_empty());
    }
}
