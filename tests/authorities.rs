//! CA files that change, that have something odd in them, or that do not fit.

use crate::support::{Binary, Certificate, Gate, House, Issuer, Origin, client, eventually};

/// A CA file that is replaced beside a gate that runs. Removed when dropped.
struct CaFile(std::path::PathBuf);

impl CaFile {
    fn new(contents: &str) -> Self {
        let name = format!("authorities-{:016x}.pem", fastrand::u64(..));
        let file = Self(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        file.put(contents);
        file
    }

    /// Replaces it as a whole, as a mounted volume does.
    fn put(&self, contents: &str) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, contents).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for CaFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn pem(certificate: &Certificate) -> String {
    std::fs::read_to_string(certificate.path()).unwrap()
}

#[tokio::test]
async fn a_changed_ca_file_is_taken_up_for_the_issuer() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let file = CaFile::new(&pem(&old));
    let issuer = Issuer::start_tls(old);
    let house = House::with_issuer(issuer, &["--issuer-ca-file", file.path(), "--jwks-refresh-cooldown", "1s"]).await;
    assert_eq!(house.verdict(&house.issuer.token().sign()).await, "passed");
    house.issuer.certificate(new.clone());
    house.issuer.rotate();
    let rotated = house.issuer.token().sign();
    assert_eq!(house.verdict(&rotated).await, "keys_unavailable");
    // In the middle of a change.
    file.put("");
    file.put(&pem(&new));
    eventually("the new authority is believed", async || house.verdict(&rotated).await == "passed").await;
}

#[tokio::test]
async fn a_changed_ca_file_is_taken_up_for_the_service_and_what_is_gone_is_believed_no_more() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let file = CaFile::new(&pem(&old));
    let (issuer, before, after) = (Issuer::start(), Origin::start_tls(&old), Origin::start_tls(&new));
    let gates = [&before, &after].map(|origin| {
        Gate::start(&issuer, origin, &["--upstream-ca-file", file.path(), "--upstream-idle-timeout", "1ms"])
    });
    for gate in &gates {
        gate.is_ready().await;
    }
    let token = issuer.token().sign();
    let status = async |gate: &Gate| client::get(gate.addr(), "/", Some(&token)).await.status;
    assert_eq!((status(&gates[0]).await, status(&gates[1]).await), (200, 502));
    file.put(&pem(&new));
    eventually("the new one is believed", async || status(&gates[1]).await == 200).await;
    eventually("and the old one no more", async || status(&gates[0]).await == 502).await;
}

#[tokio::test]
async fn something_odd_in_a_bundle_is_warned_of_with_flag_and_file_and_the_rest_is_believed() {
    let good = Certificate::new();
    let cut = "-----BEGIN CERTIFICATE-----\nMIIBjDCCATGgAwIB*gIUPW\n-----END CERTIFICATE-----\n";
    let file = CaFile::new(&format!("{cut}{}", pem(&good)));
    let (issuer, origin) = (Issuer::start_tls(good.clone()), Origin::start_tls(&good));
    let (issuer_url, origin_url) = (issuer.url(), origin.url());
    let flags = ["--issuer", &*issuer_url, "--upstream", &*origin_url];
    let files = ["--issuer-ca-file", file.path(), "--upstream-ca-file", file.path()];
    let binary = Binary::start(&[&flags[..], &files[..]].concat());
    let addr = binary.addr().await;
    let token = issuer.token().sign();
    eventually("it passes", async || client::get(addr, "/", Some(&token)).await.status == 200).await;
    for flag in ["--issuer-ca-file", "--upstream-ca-file"] {
        let expected = format!("{flag} {}: certificate 1 is skipped: it is no whole block of PEM", file.path());
        assert!(binary.stderr().iter().any(|line| line.contains(&expected)), "{:#?}", binary.stderr());
    }
}

#[tokio::test]
async fn an_authority_s_own_certificate_may_be_shown_by_the_issuer_and_the_service() {
    let own = Certificate::of_an_authority();
    let (issuer, origin) = (Issuer::start_tls(own.clone()), Origin::start_tls(&own));
    let flags = ["--issuer-ca-file", own.path(), "--upstream-ca-file", own.path()];
    let gate = Gate::start(&issuer, &origin, &flags);
    gate.is_ready().await;
    assert_eq!(client::get(gate.addr(), "/", Some(&issuer.token().sign())).await.status, 200);
}

#[tokio::test]
async fn why_tls_failed_is_said_in_words_with_what_helps() {
    let (stranger, authority) = (Certificate::new(), Certificate::of_an_authority());
    let plain = Issuer::start();
    let (unknown, own) = (Issuer::start_tls(stranger.clone()), Issuer::start_tls(authority.clone()));
    let origin = Origin::start();
    for (url, expected) in [
        (plain.url().replace("http:", "https:"), "speaks plain HTTP and not TLS, it seems: use http://"),
        (unknown.url(), "add its authority with --issuer-ca-file"),
        (own.url(), "name that very certificate with --issuer-ca-file"),
    ] {
        let gate = Gate::start(&plain, &origin, &["--issuer", &url]);
        let told = async || client::get_local(gate.admin_addr(), "/readyz?verbose").await.text();
        eventually(expected, async || told().await.contains(expected)).await;
    }
    for (origin, expected) in [
        (plain.url(), "speaks plain HTTP and not TLS, it seems: use http://"),
        (unknown.url(), "add its authority with --upstream-ca-file"),
        (own.url(), "name that very certificate with --upstream-ca-file"),
    ] {
        let (issuer_url, upstream) = (plain.url(), origin.replace("http:", "https:"));
        let binary = Binary::start(&["--issuer", &issuer_url, "--upstream", &upstream]);
        let addr = binary.addr().await;
        let token = plain.token().sign();
        eventually("it is refused", async || client::get(addr, "/", Some(&token)).await.status == 502).await;
        let is_told =
            |line: &serde_json::Value| line["detail"].as_str().is_some_and(|detail| detail.contains(expected));
        eventually(expected, async || binary.log().iter().any(is_told)).await;
    }
}
