//! SIGHUP and `POST /-/reload`: files are read and keys are fetched again, and nothing ends.

use crate::support::{Authority, Binary, Client, Exposition, Gate, Issuer, Key, Origin, Secret, client, eventually};

const PATH: &str = "/-/reload";

fn ask(method: &str, fields: &str) -> String {
    format!("{method} {PATH} HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\nContent-Length: 0\r\n\r\n")
}

#[tokio::test]
async fn a_hang_up_fetches_the_keys_of_every_issuer_and_ends_nothing() {
    let (issuer, other, origin) = (Issuer::start(), Issuer::start(), Origin::start());
    let (url, other_url) = (issuer.url(), other.url());
    let binary = Binary::start(&["--issuer", &url, "--issuer", &other_url, "--upstream", &origin.url()]);
    let (addr, admin) = (binary.addr().await, binary.admin_addr().await);
    eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
    let stolen = issuer.token().sign();
    let request = client::request("GET", "/", Some(&stolen), "");
    let mut open = Client::connect(addr).await;
    open.send(&request).await;
    assert_eq!(open.response().await.status, 200);
    let fetches = other.key_fetches();

    issuer.retire(&issuer.key().kid);
    issuer.add(&Key::new("ES256", "next"));
    binary.signal("HUP");
    eventually("the stolen key is withdrawn", async || client::get(addr, "/", Some(&stolen)).await.status == 401).await;
    eventually("the other issuer is asked", async || other.key_fetches() > fetches).await;
    // The connection lives on, and so does the process.
    open.send(&request).await;
    assert_eq!(open.response().await.denial().reason, "unknown_key");
    let next = issuer.token_by(&Key::new("ES256", "other"));
    assert_eq!(client::get(addr, "/", Some(&next.sign())).await.status, 401);
    assert_eq!(client::get(addr, "/", Some(&other.token().sign())).await.status, 200);
    assert_eq!(client::get_local(admin, "/readyz").await.status, 200);
    let said = binary.stderr().into_iter().filter(|line| line.contains("reload: files are read again")).count();
    assert_eq!(said, 1, "{:?}", binary.stderr());
}

#[tokio::test]
async fn a_hang_up_takes_up_a_new_certificate() {
    let authority = Authority::new();
    let (old, new) = (authority.issue(), authority.issue());
    let secret = Secret::new(&old, &authority);
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (issuer, origin) = (issuer.url(), origin.url());
    let files = secret.flags();
    // By itself it looks long after the test.
    let flags: Vec<_> = files.iter().map(|flag| if flag == "10ms" { "1h" } else { flag }).collect();
    let binary = Binary::start(&[&flags[..], &["--issuer", &issuer, "--upstream", &origin]].concat());
    let addr = binary.addr().await;
    let tls = authority.client();
    assert_eq!(tls.connect(addr).await.server_certificate(), old.certificate);
    secret.put(&new.cert_pem, &new.key_pem, &authority.pem);
    binary.signal("HUP");
    eventually("the new one is shown", async || tls.connect(addr).await.server_certificate() == new.certificate).await;
    // What is wrong is said at once, and what was read before stays in use.
    secret.put(&new.cert_pem, &old.key_pem, &authority.pem);
    binary.signal("HUP");
    eventually("it is warned of", async || {
        binary.stderr().iter().any(|line| line.contains("before stays in use") && line.contains("WARN"))
    })
    .await;
    assert_eq!(tls.connect(addr).await.server_certificate(), new.certificate);
}

#[tokio::test]
async fn a_failed_reload_takes_no_key_away() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let gate = Gate::start(&issuer, &origin, &[]);
    gate.is_ready().await;
    issuer.go_down();
    let response = client::exchange(gate.admin_addr(), ask("POST", "X-Claimgate: 1\r\n")).await;
    assert_eq!(response.status, 202);
    let failures = format!("claimgate_jwks_fetches_total{{issuer=\"{}\",result=\"failure\"}}", issuer.url());
    eventually("it fails", async || Exposition::scrape(gate.admin_addr()).await.value(&failures) > 0.0).await;
    let token = issuer.token().sign();
    assert_eq!(client::get(gate.addr(), "/", Some(&token)).await.status, 200);
}

#[tokio::test]
async fn a_reload_is_for_who_asks_on_purpose_on_this_machine() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let gate = Gate::start(&issuer, &origin, &["--health-listen", "127.0.0.1:0", "--jwks-timeout", "1s"]);
    gate.is_ready().await;
    let fetches = issuer.key_fetches();
    let elsewhere = ask("POST", "X-Claimgate: 1\r\n").replace("localhost", "gate.example.com");
    for (request, status) in [
        (ask("POST", ""), 403),
        (ask("POST", "X-Claimgate: 0\r\n"), 403),
        (ask("POST", "X-Claimgate:\r\n"), 403),
        (ask("GET", "X-Claimgate: 1\r\n"), 405),
        (ask("PUT", "X-Claimgate: 1\r\n"), 405),
        (elsewhere, 403),
    ] {
        let response = client::exchange(gate.admin_addr(), &request).await;
        assert_eq!(response.status, status, "{request}");
        assert_eq!(response.header("allow"), (status == 405).then_some("POST"), "{request}");
        assert_eq!(response.header("access-control-allow-headers"), None, "{request}");
    }
    let on_the_health_port = client::exchange(gate.health_addr(), ask("POST", "X-Claimgate: 1\r\n")).await;
    assert_eq!(on_the_health_port.status, 405);
    let preflight = ask("OPTIONS", "Origin: https://evil.example\r\nAccess-Control-Request-Headers: x-claimgate\r\n");
    assert_eq!(client::exchange(gate.admin_addr(), preflight).await.status, 405);
    assert_eq!(issuer.key_fetches(), fetches, "none of them was one");

    // Many at once are few attempts.
    for _ in 0..20 {
        let response = client::exchange(gate.admin_addr(), ask("POST", "X-Claimgate: 1\r\n")).await;
        assert_eq!(response.status, 202);
    }
    eventually("keys are fetched", async || issuer.key_fetches() > fetches).await;
    assert!(issuer.key_fetches() - fetches < 20, "{}", issuer.key_fetches() - fetches);
    assert_eq!(client::get(gate.addr(), "/", Some(&issuer.token().sign())).await.status, 200);
}
