//! Fetching over TLS.

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::trust::Bundle;

/// An issuer behind TLS that has a key set and nothing else; its identifier and certificate.
async fn start() -> (String, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.der().clone(), PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate.clone()], key.into()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let keys = format!(r#"{{"keys":[{}]}}"#, jwk("a"));
    let found = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{keys}", keys.len());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let (mut stream, mut head) = (BufReader::new(stream), String::new());
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).await.unwrap_or(0) > 0 {}
            let not_found = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
            let answer = if head.contains(KEYS) { &found } else { not_found };
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (url, certificate)
}

#[tokio::test]
async fn an_issuer_s_certificate_must_come_from_a_trusted_root() {
    let (identifier, certificate) = start().await;
    let trusted = vec![certificate];
    for (trust, error) in [
        (Trust::new(None, Some(Bundle::of(trusted.clone()))), None),
        (Trust::new(Some(Bundle::of(trusted)), None), None),
        (Trust::new(Some(Bundle::of(Vec::new())), None), Some("TLS: invalid peer certificate")),
        (Trust::new(None, None), Some("TLS: invalid peer certificate")),
    ] {
        let (issuer, _readiness, _tasks) =
            run(Settings { trust: Arc::new(trust), ..Settings::new(identifier.clone()) });
        attempts(&issuer, 1).await;
        let failure = issuer.status().report.last_error.map(|failure| failure.cause);
        match error {
            Some(error) => assert!(failure.as_ref().is_some_and(|cause| cause.contains(error)), "{failure:?}"),
            None => assert!(issuer.key(&header(Some("a"))).await.is_ok(), "{failure:?}"),
        }
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let (identifier, certificate) = start().await;
    let trust = Arc::new(Trust::new(None, Some(Bundle::of(vec![certificate]))));
    let identifier = identifier.replace("localhost", "127.0.0.1");
    let (issuer, _readiness, _tasks) = run(Settings { trust, ..Settings::new(identifier) });
    attempts(&issuer, 1).await;
    let cause = issuer.status().report.last_error.unwrap().cause;
    assert!(cause.contains("TLS: invalid peer certificate"), "{cause}");
}
