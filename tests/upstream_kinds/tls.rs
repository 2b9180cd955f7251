//! Whom the gate believes to be the origin, and who it is itself.

use super::House2;
use crate::support::{Certificate, Gate, House, Http2Origin, Issuer, Origin, Reply, client, eventually};

/// The status of a request, and what is logged about it.
async fn verdict(upstream: &str, flags: &[&str]) -> (u16, Option<String>) {
    let issuer = Issuer::start();
    let gate = Gate::start_before(&issuer, upstream, flags);
    gate.is_ready().await;
    let response = client::get(gate.addr(), "/", Some(&issuer.token().sign())).await;
    (response.status, (response.status != 200).then(|| response.denial().reason))
}

#[tokio::test]
async fn an_origin_that_nobody_vouches_for_is_not_spoken_to() {
    let (own, other) = (Certificate::new(), Certificate::new());
    let named = Certificate::of("origin.test");
    let refused = (502, Some("upstream_unreachable".to_owned()));
    for flags in [&[][..], &["--upstream-ca-file", other.path()]] {
        let (http1, http2) = (Origin::start_tls(&own), Http2Origin::start_tls(&own));
        assert_eq!(verdict(&http1.url(), flags).await, refused);
        assert_eq!(verdict(&http2.url(), flags).await, refused);
        assert_eq!((http1.begun(), http2.begun()), (0, 0));
    }
    // Vouched for, and for another name.
    let origin = Origin::start_tls(&named);
    let ca = ["--upstream-ca-file", named.path()];
    assert_eq!(verdict(&origin.url(), &ca).await, refused);
    assert_eq!(verdict(&origin.url(), &[&ca[..], &["--upstream-server-name", "other.test"]].concat()).await, refused);
    assert_eq!(origin.begun(), 0);
    let named = verdict(&origin.url(), &[&ca[..], &["--upstream-server-name", "origin.test"]].concat()).await;
    assert_eq!(named, (200, None));
    assert_eq!(origin.only().header("host"), Some("gate.test"), "what is asked for is the client's to say");
}

#[tokio::test]
async fn the_cause_of_a_failed_handshake_is_in_the_log() {
    let origin = Origin::start_tls(&Certificate::new());
    let issuer = Issuer::start();
    let binary = crate::support::Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url()]);
    let addr = binary.addr().await;
    assert_eq!(client::get(addr, "/", Some(&issuer.token().sign())).await.status, 502);
    eventually("it is logged", async || binary.stdout().concat().contains("TLS: invalid peer certificate: ")).await;
}

#[tokio::test]
async fn an_origin_that_speaks_no_tls_is_a_502() {
    let house = House::start(&[]).await;
    house.origin.reply(Reply::ok("ok"));
    let url = house.origin.url().replace("http:", "https:");
    assert_eq!(verdict(&url, &[]).await.1.as_deref(), Some("upstream_unreachable"));
}

#[tokio::test]
async fn an_origin_that_does_not_shake_hands_is_given_up_after_the_limit_for_connects() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    for scheme in ["https", "h2c"] {
        let told = verdict(&format!("{scheme}://{addr}"), &["--upstream-connect-timeout", "300ms"]).await;
        assert_eq!(told.1.as_deref(), Some("upstream_unreachable"), "{scheme}");
    }
}

#[tokio::test]
async fn an_origin_that_demands_a_certificate_is_shown_ours() {
    let (own, ours, strange) = (Certificate::new(), Certificate::of("gate.test"), Certificate::of("gate.test"));
    let ca = ["--upstream-ca-file", own.path()];
    let shown = |client: &Certificate| {
        let files = ["--upstream-client-cert-file", client.path(), "--upstream-client-key-file", client.key_path()];
        [&ca[..], &files].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let http1 = Origin::start_tls(&own.demanding(&ours));
    let http2 = Http2Origin::start_tls(&own.demanding(&ours));
    for url in [http1.url(), http2.url()] {
        assert_eq!(verdict(&url, &ca).await.0, 502, "none is shown to {url}");
        let wrong = shown(&strange);
        let wrong: Vec<_> = wrong.iter().map(String::as_str).collect();
        assert_eq!(verdict(&url, &wrong).await.0, 502, "a strange one is shown to {url}");
        let right = shown(&ours);
        let right: Vec<_> = right.iter().map(String::as_str).collect();
        assert_eq!(verdict(&url, &right).await, (200, None), "{url}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_read_again_when_its_file_changes() {
    let (own, old, new) = (Certificate::new(), Certificate::of("old.test"), Certificate::of("new.test"));
    let origin = Http2Origin::start_tls(&own.demanding(&new));
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("identity-{:016x}", fastrand::u64(..)));
    std::fs::create_dir(&folder).unwrap();
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    std::fs::copy(old.path(), &certificate).unwrap();
    std::fs::copy(old.key_path(), &key).unwrap();
    let flags = [
        "--upstream-ca-file",
        own.path(),
        "--upstream-client-cert-file",
        certificate.to_str().unwrap(),
        "--upstream-client-key-file",
        key.to_str().unwrap(),
    ];
    let house = House2::with(origin, &flags).await;
    let status = async || client::get(house.gate.addr(), "/", Some(&house.token())).await.status;
    assert_eq!(status().await, 502);
    // Half of a pair is no identity.
    std::fs::copy(new.path(), &certificate).unwrap();
    assert_eq!(status().await, 502);
    std::fs::copy(new.key_path(), &key).unwrap();
    assert_eq!(status().await, 200);
    std::fs::remove_dir_all(folder).unwrap();
}
