//! TLS errors in words, with what helps. The library has the names of its own types for most.

use std::io;

use rustls::{CertificateError, Error, InvalidMessage};

/// What went wrong. `ca_flag` names the flag that adds an authority.
pub fn explain(error: &Error, ca_flag: &str) -> String {
    match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what answers there speaks plain HTTP and not TLS, it seems: use http://".to_owned()
        }
        Error::InvalidMessage(what) => format!("what came is no TLS: {}", words(&format!("{what:?}"))),
        Error::AlertReceived(alert) => format!("it refused the handshake: {}", words(&format!("{alert:?}"))),
        Error::PeerIncompatible(why) => format!("it speaks no TLS that we do: {}", words(&format!("{why:?}"))),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            format!("invalid peer certificate: no known authority vouches for it; add its authority with {ca_flag}")
        }
        Error::InvalidCertificate(why) if is_ca(why) => format!(
            "invalid peer certificate: it is that of an authority; name that very certificate with {ca_flag} to trust it"
        ),
        Error::InvalidCertificate(why) => format!("invalid peer certificate: {}", certificate_words(why)),
        error => plain(&error.to_string()),
    }
}

/// The same where it came as an error of reading or writing.
pub fn explain_io(error: &io::Error, ca_flag: &str) -> String {
    let tls = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    tls.map_or_else(|| error.to_string(), |tls| explain(tls, ca_flag))
}

/// Why a certificate is no authority's that can be used.
pub(super) fn certificate_problem(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => certificate_words(why),
        error => plain(&error.to_string()),
    }
}

fn certificate_words(why: &CertificateError) -> String {
    match why {
        CertificateError::BadEncoding => "it is no X.509 certificate as RFC 5280 has them".to_owned(),
        CertificateError::BadSignature => "its signature is not that of the authority".to_owned(),
        why => plain(&why.to_string()),
    }
}

pub(super) fn is_ca(why: &CertificateError) -> bool {
    matches!(why, CertificateError::Other(_)) && why.to_string().contains("CaUsedAsEndEntity")
}

/// A sentence stays as it is; what is the name of a type or ends in one is taken apart.
fn plain(text: &str) -> String {
    match text.rsplit_once(": ") {
        Some((sentence, name)) if !name.contains(' ') => format!("{sentence}: {}", words(name)),
        None if !text.contains(' ') => words(text),
        _ => text.to_owned(),
    }
}

/// `Other(OtherError(CaUsedAsEndEntity))` as "ca used as end entity".
fn words(name: &str) -> String {
    let innermost = name.rsplit('(').next().unwrap_or(name).trim_end_matches(')');
    let mut words = String::new();
    for character in innermost.chars() {
        if character.is_ascii_uppercase() && words.ends_with(|last: char| last.is_ascii_lowercase()) {
            words.push(' ');
        }
        words.push(character.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, OtherError, PeerIncompatible, PeerMisbehaved};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("CaUsedAsEndEntity")]
    struct CaUsedAsEndEntity;

    #[test]
    fn no_error_shows_the_name_of_a_type() {
        let ca = CertificateError::Other(OtherError(std::sync::Arc::new(CaUsedAsEndEntity)));
        for (error, expected) in [
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "plain HTTP and not TLS, it seems: use http://",
            ),
            (Error::InvalidMessage(InvalidMessage::MessageTooLarge), "what came is no TLS: message too large"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), "refused the handshake: handshake failure"),
            (
                Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
                "no TLS that we do: server does not support tls12or13",
            ),
            (
                Error::PeerMisbehaved(PeerMisbehaved::DuplicateClientHelloExtensions),
                "peer misbehaved: duplicate client",
            ),
            (CertificateError::UnknownIssuer.into(), "no known authority vouches for it; add its authority with --x"),
            (CertificateError::BadEncoding.into(), "it is no X.509 certificate"),
            (
                CertificateError::UnhandledCriticalExtension.into(),
                "invalid peer certificate: unhandled critical extension",
            ),
            (ca.into(), "it is that of an authority; name that very certificate with --x"),
        ] {
            let told = explain(&error, "--x");
            assert!(told.contains(expected), "{told}");
            let is_type = |word: &str| {
                word.chars().skip(1).any(|c| c.is_ascii_uppercase()) && !matches!(word, "TLS" | "HTTP" | "RFC")
            };
            assert!(!told.split(|c: char| !c.is_ascii_alphanumeric()).any(is_type), "{told}");
        }
    }
}
