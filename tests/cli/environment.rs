//! What the environment does to it.

use crate::support::{Binary, Issuer, Origin, client, eventually};

fn start(issuer: &str, origin: &Origin, env: &[(&str, &str)]) -> Binary {
    let upstream = origin.url();
    let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"];
    Binary::spawn(&[&listen[..], &["--issuer", issuer, "--upstream", &upstream]].concat(), env)
}

fn warnings(binary: &Binary) -> Vec<String> {
    binary.stderr().into_iter().filter(|line| line.contains("\"WARN\"")).collect()
}

#[tokio::test]
async fn an_issuer_elsewhere_is_asked_through_the_proxy_and_the_first_lines_say_so() {
    let (proxy, origin) = (Origin::start(), Origin::start());
    let proxy_url = proxy.url().replace("http://", "http://user:secret@");
    let binary = start("https://issuer.example.com", &origin, &[("HTTPS_PROXY", &proxy_url)]);
    proxy.has_begun(1).await;
    eventually("the proxy has a request", async || !proxy.received().is_empty()).await;
    let received = proxy.received().swap_remove(0);
    assert_eq!((&*received.method, &*received.target), ("CONNECT", "issuer.example.com:443"));
    eventually("it says so", async || warnings(&binary).iter().any(|line| line.contains("HTTPS_PROXY"))).await;
    assert!(!binary.stderr().concat().contains("secret"), "{:#?}", binary.stderr());
}

#[tokio::test]
async fn an_issuer_on_this_machine_is_never_asked_through_a_proxy() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let nowhere = "http://127.0.0.1:9";
    let env = [("HTTPS_PROXY", nowhere), ("HTTP_PROXY", nowhere), ("http_proxy", nowhere), ("ALL_PROXY", nowhere)];
    let binary = start(&issuer.url(), &origin, &env);
    let (addr, token) = (binary.addr().await, issuer.token().sign());
    eventually("it has keys", async || client::get(addr, "/", Some(&token)).await.status == 200).await;
}

#[tokio::test]
async fn a_variable_that_is_no_flag_is_warned_of_and_what_kubernetes_sets_is_not() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let env = [
        ("CLAIMGATE_AUDIENC", "orders"),
        ("CLAIMGATE_PORT", "tcp://10.0.0.1:4180"),
        ("CLAIMGATE_PORT_4180_TCP", "tcp://10.0.0.1:4180"),
        ("CLAIMGATE_SERVICE_HOST", "10.0.0.1"),
        ("CLAIMGATE_SERVICE_PORT", "4180"),
    ];
    let binary = start(&issuer.url(), &origin, &env);
    let admin = binary.admin_addr().await;
    eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
    let warnings = warnings(&binary).concat();
    assert!(warnings.contains("CLAIMGATE_AUDIENC"), "{warnings}");
    assert!(!warnings.contains("CLAIMGATE_PORT") && !warnings.contains("CLAIMGATE_SERVICE"), "{warnings}");
}

#[tokio::test]
async fn an_insecure_issuer_has_to_be_asked_for_and_is_warned_of() {
    let origin = Origin::start();
    let binary = start("http://issuer.test", &origin, &[("CLAIMGATE_INSECURE_ISSUER", "true")]);
    binary.addr().await;
    eventually("it warns", async || warnings(&binary).iter().any(|line| line.contains("--insecure-issuer"))).await;
}
