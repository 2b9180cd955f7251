//! The certificates of one file.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use aws_lc_rs::digest::{Digest, SHA256, digest};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::explain::certificate_problem;

/// The most PEM blocks of a file that are looked at.
const MAX_BLOCKS: usize = 10_000;
/// The most odd ones that are named.
const MAX_NAMED: usize = 8;

/// The usable certificates of one file, at least one.
#[derive(Clone)]
pub struct Bundle {
    file: Option<File>,
    certificates: Vec<CertificateDer<'static>>,
    odd: Vec<String>,
}

#[derive(Clone)]
struct File {
    /// What named the file, as it is typed.
    flag: &'static str,
    path: PathBuf,
    digest: Digest,
}

impl Bundle {
    /// The certificates of a PEM file that this flag names.
    pub fn read(flag: &'static str, path: &Path) -> Result<Self, String> {
        let pem = fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?;
        Self::parse(flag, path, &pem)
    }

    /// These certificates, from no file.
    pub fn of(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self { file: None, certificates, odd: Vec::new() }
    }

    /// `None` while the file holds what it held.
    pub(super) fn read_again(&self) -> Option<Result<Self, String>> {
        let file = self.file.as_ref()?;
        let named = |problem: String| format!("{} {}: {problem}", file.flag, file.path.display());
        match fs::read(&file.path) {
            Err(error) => Some(Err(named(format!("it cannot be read: {error}")))),
            Ok(pem) if digest(&SHA256, &pem).as_ref() == file.digest.as_ref() => None,
            Ok(pem) => Some(Self::parse(file.flag, &file.path, &pem).map_err(named)),
        }
    }

    fn parse(flag: &'static str, path: &Path, pem: &[u8]) -> Result<Self, String> {
        let (mut certificates, mut odd) = (Vec::new(), Vec::new());
        for (index, block) in CertificateDer::pem_slice_iter(pem).take(MAX_BLOCKS).enumerate() {
            let problem = match block {
                Ok(certificate) => match RootCertStore::empty().add(certificate.clone()) {
                    Ok(()) => {
                        certificates.push(certificate);
                        continue;
                    }
                    Err(error) => certificate_problem(&error),
                },
                Err(_) => "it is no whole block of PEM".to_owned(),
            };
            odd.push(format!("certificate {} is skipped: {problem}", index + 1));
        }
        let more = odd.len().saturating_sub(MAX_NAMED);
        odd.truncate(MAX_NAMED);
        if more > 0 {
            odd.push(format!("{more} more certificates are skipped"));
        }
        if certificates.is_empty() {
            let why = if odd.is_empty() { String::new() } else { format!(" that can be used: {}", odd.join("; ")) };
            return Err(format!("it holds no certificate in PEM{why}"));
        }
        let odd = odd.into_iter().map(|odd| format!("{flag} {}: {odd}", path.display())).collect();
        let file = Some(File { flag, path: path.to_owned(), digest: digest(&SHA256, pem) });
        Ok(Self { file, certificates, odd })
    }

    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    pub(super) fn len(&self) -> usize {
        self.certificates.len()
    }

    pub(super) fn odd(&self) -> &[String] {
        &self.odd
    }

    pub(super) const fn is_from_file(&self) -> bool {
        self.file.is_some()
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}
