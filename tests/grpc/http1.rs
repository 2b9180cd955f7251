//! A gRPC service that `--upstream` speaks HTTP/1.1 to: the log says what is the matter.

use super::request;
use crate::support::{Binary, Caller, Http2Origin, Issuer, client, eventually};

#[tokio::test]
async fn a_call_that_an_http2_service_is_sent_over_http1_is_logged_with_the_remedy() {
    let (issuer, origin) = (Issuer::start(), Http2Origin::start());
    let upstream = format!("http://{}", origin.addr());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--audience", "a", "--upstream", &upstream]);
    let (addr, admin) = (binary.addr().await, binary.admin_addr().await);
    eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
    let token = issuer.token().claim("aud", "a").sign();
    let caller = Caller::connect(addr).await;
    for (content_type, is_told) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc+json", true),
        ("application/json", false),
        ("application/grpc-web", false),
    ] {
        let before = binary.log().len();
        let request = request(Some(&token), &[("content-type", content_type)]);
        caller.begin(request, true).await.answer().await;
        eventually("it is logged", async || binary.log().len() > before).await;
        let line = binary.log().pop().unwrap();
        assert_eq!(line["status"], 502, "{content_type}: {line}");
        let detail = line["detail"].as_str().unwrap();
        let told = "gRPC needs HTTP/2, and http:// is HTTP/1.1: use h2c:// in --upstream";
        assert_eq!(detail.contains(told), is_told, "{content_type}: {line}");
    }
}
