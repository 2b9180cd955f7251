//! Whom the verifier believes, and what is left of a bundle with something odd in it.

use std::path::Path;

use base64::Engine;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

use super::*;

/// A certificate for `gate.test` that vouches for itself, valid through 2030.
fn made(is_ca: bool) -> rcgen::Certificate {
    let mut params = CertificateParams::new(vec!["gate.test".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2031, 1, 1);
    params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
    params.self_signed(&KeyPair::generate().unwrap()).unwrap()
}

fn at(year: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600))
}

#[test]
fn the_certificate_of_a_given_authority_is_believed_for_its_name_and_in_its_time() {
    let (authority, leaf, other) = (made(true), made(false), made(true));
    for (shown, given, name, year, is_believed) in [
        (&authority, &authority, "gate.test", 2026, true),
        (&leaf, &leaf, "gate.test", 2026, true),
        (&authority, &other, "gate.test", 2026, false),
        (&other, &leaf, "gate.test", 2026, false),
        (&authority, &authority, "other.test", 2026, false),
        (&authority, &authority, "gate.test", 2019, false),
        (&authority, &authority, "gate.test", 2032, false),
        (&leaf, &leaf, "gate.test", 2032, false),
    ] {
        let trust = Trust::new(None, Some(Bundle::of(vec![given.der().clone()])));
        let name = ServerName::try_from(name).unwrap();
        let verified = trust.verify_server_cert(shown.der(), &[], &name, &[], at(year));
        assert_eq!(verified.is_ok(), is_believed, "{name:?} in {year}: {verified:?}");
        if let Err(error) = verified {
            let told = explain(&error, "--issuer-ca-file");
            assert!(!told.contains("Other(") && !told.contains("UnknownIssuer"), "{told}");
        }
    }
}

fn parse(pem: &str) -> Result<Bundle, String> {
    let path = std::env::temp_dir().join(format!("claimgate-bundle-{:016x}.pem", fastrand::u64(..)));
    std::fs::write(&path, pem).unwrap();
    let read = Bundle::read("--issuer-ca-file", &path);
    std::fs::remove_file(&path).unwrap();
    read
}

/// Its version number is one that no certificate has.
fn odd() -> String {
    let mut der = made(false).der().to_vec();
    let version = der.windows(5).position(|bytes| bytes == [0xa0, 3, 2, 1, 2]).unwrap();
    der[version + 4] = 3;
    let lines = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = lines.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[test]
fn what_is_odd_in_a_bundle_is_skipped_and_named_with_its_flag_and_place() {
    let good = made(true).pem();
    let cut = "-----BEGIN CERTIFICATE-----\nMIIBjDCCATGgAwIB*gIUPW\n-----END CERTIFICATE-----\n";
    let begun = "-----BEGIN CERTIFICATE-----\nMIIB";
    for (bundle, count, place) in [
        (good.clone(), 1, None),
        (format!("# a comment, O=\u{fc}ber\n{}", good.replace('\n', "\r\n")), 1, None),
        (format!("{good}{}", odd()), 1, Some(2)),
        (format!("{}{good}", odd()), 1, Some(1)),
        (format!("{good}{cut}{}", made(true).pem()), 2, Some(2)),
        (format!("{good}{begun}"), 1, Some(2)),
    ] {
        let bundle = parse(&bundle).unwrap();
        assert_eq!(bundle.len(), count);
        match place {
            None => assert!(bundle.odd().is_empty(), "{:?}", bundle.odd()),
            Some(place) => {
                let [odd] = bundle.odd() else { panic!("{:?}", bundle.odd()) };
                assert!(odd.starts_with("--issuer-ca-file /"), "{odd}");
                assert!(odd.contains(&format!(": certificate {place} is skipped: it is no ")), "{odd}");
            }
        }
    }
    for nothing in [String::new(), cut.to_owned(), odd(), "no PEM".to_owned()] {
        assert!(parse(&nothing).unwrap_err().starts_with("it holds no certificate in PEM"), "{nothing}");
    }
}

#[test]
fn a_file_is_taken_up_when_it_holds_something_else_and_not_when_it_holds_nothing() {
    let path = std::env::temp_dir().join(format!("claimgate-trust-{:016x}.pem", fastrand::u64(..)));
    let (old, new) = (made(true), made(true));
    std::fs::write(&path, old.pem()).unwrap();
    let trust = Trust::new(Some(Bundle::of(Vec::new())), Some(Bundle::read("--issuer-ca-file", &path).unwrap()));
    let believes = |shown: &rcgen::Certificate| {
        let name = ServerName::try_from("gate.test").unwrap();
        trust.verify_server_cert(shown.der(), &[], &name, &[], at(2026)).is_ok()
    };
    assert!(believes(&old) && !believes(&new));
    for (contents, problem) in [(String::new(), Some("holds no")), (new.pem(), None), (new.pem(), None)] {
        std::fs::write(&path, contents).unwrap();
        let (replaced, added) = trust.current.load_full().read_again();
        if let Some(problem) = problem {
            let told = added.problem().unwrap();
            assert!(told.starts_with("--issuer-ca-file ") && told.contains(problem), "{told}");
            assert!(believes(&old) && !believes(&new));
        } else {
            trust.take_up(replaced, added);
            assert!(!believes(&old) && believes(&new));
        }
    }
    std::fs::remove_file(Path::new(&path)).unwrap();
    assert!(trust.current.load_full().read_again().1.problem().unwrap().contains("cannot be read"));
}
