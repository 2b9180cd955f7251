//! Certificates that change while the gate serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{Authority, Binary, House, Issuer, Origin, Secret, client, eventually};

fn strings(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn new_connections_see_the_new_certificate_and_open_ones_live_on() {
    let authority = Authority::new();
    let (old, new) = (authority.issue(), authority.issue());
    let secret = Secret::new(&old, &authority);
    let house = House::start(&strings(&secret.flags())).await;
    let (addr, tls) = (house.gate.addr(), authority.client());
    let request = client::request("GET", "/", Some(&house.issuer.token().sign()), "");
    let mut open = tls.connect(addr).await;
    open.send(&request).await;
    assert_eq!(open.response().await.status, 200);
    secret.put(&new.cert_pem, &new.key_pem, &authority.pem);
    eventually("the new one is shown", async || tls.connect(addr).await.server_certificate() == new.certificate).await;
    open.send(&request).await;
    assert_eq!(open.response().await.status, 200);
    assert_eq!(open.server_certificate(), old.certificate);
}

#[tokio::test]
async fn a_reload_under_load_drops_nothing() {
    let authority = Arc::new(Authority::new());
    let first = authority.issue();
    let secret = Secret::new(&first, &authority);
    let house = House::start(&strings(&secret.flags())).await;
    let addr = house.gate.addr();
    let request = client::request("GET", "/", Some(&house.issuer.token().sign()), "");
    let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (tls, request) = (authority.client(), request.clone());
        let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
        clients.spawn(async move {
            let mut client = tls.connect(addr).await;
            while !is_over.load(Ordering::Relaxed) {
                if number % 2 == 0 {
                    client = tls.connect(addr).await;
                }
                client.send(&request).await;
                assert_eq!(client.response().await.status, 200);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for _ in 0..5 {
        let (new, before) = (authority.issue(), answered.load(Ordering::Relaxed));
        secret.put(&new.cert_pem, &new.key_pem, &authority.pem);
        let tls = authority.client();
        eventually("the new one is shown", async || tls.connect(addr).await.server_certificate() == new.certificate)
            .await;
        eventually("there is a load", async || answered.load(Ordering::Relaxed) >= before + 50).await;
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn a_bad_new_pair_keeps_the_old_one_and_is_warned_of_once() {
    let authority = Authority::new();
    let (old, new) = (authority.issue(), authority.issue());
    let secret = Secret::new(&old, &authority);
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (issuer_url, origin_url) = (issuer.url(), origin.url());
    let flags = secret.flags();
    let flags = [&strings(&flags)[..], &["--issuer", &issuer_url, "--upstream", &origin_url]].concat();
    let binary = Binary::start(&flags);
    let addr = binary.addr().await;
    let tls = authority.client();
    let warnings =
        |cause: &str| binary.stderr().iter().filter(|line| line.contains("WARN") && line.contains(cause)).count();
    for (cert, key, cause) in [
        (&*old.cert_pem, &*new.key_pem, "the key cannot be used: it is not the key of the certificate"),
        ("", &new.key_pem, "the certificate cannot be used: it holds no certificate"),
    ] {
        secret.put(cert, key, &authority.pem);
        eventually("it is warned of", async || warnings(cause) > 0).await;
        assert_eq!(tls.connect(addr).await.server_certificate(), old.certificate);
    }
    secret.put(&old.cert_pem, &old.key_pem, &authority.pem);
    std::fs::remove_file(secret.file("tls.key")).unwrap();
    eventually("a file that is gone is warned of", async || warnings("it cannot be read") > 0).await;
    std::os::unix::fs::symlink("..data/tls.key", secret.file("tls.key")).unwrap();
    secret.put(&new.cert_pem, &new.key_pem, &authority.pem);
    eventually("the good one is shown", async || tls.connect(addr).await.server_certificate() == new.certificate).await;
    assert_eq!(["not the key", "holds no certificate", "cannot be read"].map(warnings), [1, 1, 1]);
    let stderr = binary.stderr().join("\n");
    assert!(stderr.contains("new TLS files are in use") && !stderr.contains("PRIVATE"), "{stderr}");
}

#[tokio::test]
async fn another_client_ca_is_taken_up_too() {
    let (servers, old, new) = (Authority::new(), Authority::new(), Authority::new());
    let identity = servers.issue();
    let secret = Secret::new(&identity, &old);
    let ca_file = secret.file("ca.crt");
    let flags = secret.flags();
    let house = House::start(&[&strings(&flags)[..], &["--tls-client-ca-file", &ca_file]].concat()).await;
    let request = client::request("GET", "/", Some(&house.issuer.token().sign()), "Connection: close\r\n");
    let is_let_in = async |authority: &Authority| {
        let client = authority.issue();
        let mut client = servers.client_of(Some(&client), &[b"http/1.1"]).connect(house.gate.addr()).await;
        client.try_send(&request).await;
        client.rest().await.starts_with(b"HTTP/1.1 200")
    };
    assert!(is_let_in(&old).await && !is_let_in(&new).await);
    secret.put(&identity.cert_pem, &identity.key_pem, &new.pem);
    eventually("the new one is believed", async || is_let_in(&new).await).await;
    assert!(!is_let_in(&old).await);
}
