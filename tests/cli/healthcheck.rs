//! `claimgate healthcheck`, and what the health listener says of the origin.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::support::{Binary, Gate, House, Issuer, Origin, Reply, client, eventually, reserve};

async fn status_and_text(addr: SocketAddr, path: &str) -> (u16, String) {
    let response = client::get(addr, path, None).await;
    (response.status, response.text())
}

#[tokio::test]
async fn its_exit_code_is_that_of_the_gate_s_readiness() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    issuer.go_down();
    let gate = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url()]);
    let admin = gate.admin_addr().await.to_string();
    let check = async |path: &str| Binary::run(&["healthcheck", "--admin-listen", &admin, "--path", path], &[]).await;
    let not_ready = check("/readyz").await;
    assert_eq!(not_ready.code, Some(1), "{not_ready:?}");
    assert!(not_ready.stderr.contains(": 503: not ready"), "{not_ready:?}");
    assert_eq!(check("/livez").await.code, Some(0));
    issuer.recover();
    eventually("it is ready", async || check("/readyz").await.code == Some(0)).await;
}

/// As in a container: what the gate was told by its environment, its check is told too.
#[tokio::test]
async fn it_finds_the_gate_by_the_variables_that_the_gate_itself_has() {
    let house = House::start(&["--health-listen", "0.0.0.0:0"]).await;
    let health = house.gate.health_addr().to_string();
    assert!(health.starts_with("0.0.0.0:"), "{health}");
    let env = [
        ("CLAIMGATE_UPSTREAM", "http://127.0.0.1:3000"),
        ("CLAIMGATE_ISSUER", "https://issuer.example.com"),
        ("CLAIMGATE_ADMIN_LISTEN", "off"),
        ("CLAIMGATE_HEALTH_LISTEN", &health),
    ];
    let ended = Binary::run(&["healthcheck"], &env).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
}

/// As the chart's test asks it, through the Service.
#[tokio::test]
async fn it_can_ask_whether_a_gate_elsewhere_demands_a_token() {
    let house = House::start(&[]).await;
    let gate = format!("localhost:{}", house.gate.addr().port());
    let check = async |path: &str| {
        Binary::run(&["healthcheck", "--health-listen", &gate, "--path", path, "--status", "401"], &[]).await
    };
    assert_eq!(check("/").await.code, Some(0));
    let open = House::start(&["--skip-auth-route", "/"]).await;
    let gate = format!("localhost:{}", open.gate.addr().port());
    let ended = Binary::run(&["healthcheck", "--health-listen", &gate, "--path", "/", "--status", "401"], &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(": 200: "), "{ended:?}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_unhealthy_and_told_why() {
    let (_reserved, nobody) = reserve();
    let nobody = nobody.to_string();
    for (flags, told) in [
        (vec!["--admin-listen", "off"], "both listeners are off"),
        (vec!["--health-listen", "localhost"], "such as 127.0.0.1:9180"),
        (vec!["--path", "readyz"], "it must be a path such as /readyz"),
        (vec!["--timeout", "2"], "it must be a duration such as 2s"),
        (vec!["--admin-listen", &nobody], &nobody),
    ] {
        let ended = Binary::run(&[&["healthcheck"], &flags[..]].concat(), &[]).await;
        assert_eq!(ended.code, Some(1), "{flags:?}: {ended:?}");
        assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(told), "{flags:?}: {ended:?}");
    }
}

#[tokio::test]
async fn the_origin_is_checked_by_the_paths_that_were_given_and_no_other() {
    let flags = ["--health-listen", "127.0.0.1:0", "--origin-health-check", "/ready?full=1,/down,tcp"];
    let house = House::start(&flags).await;
    let health = house.gate.health_addr();
    house.origin.reply_at("/ready?full=1", Reply::new(302, &[("location", "/elsewhere")], ""));
    house.origin.reply_at("/down", Reply::new(500, &[], "a secret of the origin"));
    assert_eq!(status_and_text(health, "/healthz/origin?path=/ready%3Ffull%3D1").await, (200, "ok\n".to_owned()));
    let told = "the origin answered 500\nnot ready\n".to_owned();
    assert_eq!(status_and_text(health, "/healthz/origin?path=/down").await, (503, told));
    assert_eq!(status_and_text(health, "/healthz/origin?tcp").await.0, 200);
    let received = house.origin.received();
    for path in ["?path=/other", "?path=/ready", "?grpc", "", "?path=/down&path=/other"] {
        assert_eq!(status_and_text(health, &format!("/healthz/origin{path}")).await.0, 404, "{path}");
    }
    assert_eq!(house.origin.received().len(), received.len());
    let targets: Vec<_> = received.iter().map(|request| (&*request.method, &*request.target)).collect();
    assert_eq!(targets, [("GET", "/ready?full=1"), ("GET", "/down")]);
    assert!(received.iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn an_origin_that_is_away_or_no_http_server_is_not_healthy() {
    let flags = ["--health-listen", "127.0.0.1:0", "--origin-health-check", "/,tcp,grpc"];
    let house = House::start(&flags).await;
    let health = house.gate.health_addr();
    house.origin.reply_at("/", Reply::raw("220 mail.example.com ESMTP\r\n").close());
    let (status, text) = status_and_text(health, "/healthz/origin?path=/").await;
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("the origin does not answer as it should"), "{text}");
    house.origin.stop();
    for query in ["path=/", "tcp", "grpc"] {
        let (status, text) = status_and_text(health, &format!("/healthz/origin?{query}")).await;
        assert_eq!(status, 503, "{query}: {text}");
        assert!(text.contains("no connection to the origin"), "{query}: {text}");
    }
}

/// A gRPC server with the health service alone: `""` and `good` are serving, `bad` is not, others are unknown to it.
async fn grpc_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
                assert_eq!(
                    (request.uri().path(), request.headers()["te"].as_bytes()),
                    ("/grpc.health.v1.Health/Check", "trailers".as_bytes())
                );
                let message = request.into_body().collect().await.unwrap().to_bytes();
                let (status, serving): (&str, &[u8]) = match &message[5..] {
                    b"" | b"\x0a\x04good" => ("0", b"\0\0\0\0\x02\x08\x01"),
                    b"\x0a\x03bad" => ("0", b"\0\0\0\0\x02\x08\x02"),
                    _ => ("5", b""),
                };
                let trailers =
                    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))]);
                let body = Full::new(Bytes::from_static(serving)).with_trailers(async { Some(Ok(trailers)) });
                let response = Response::builder().header("content-type", "application/grpc");
                response.body(BoxBody::new(body))
            });
            let server = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    addr
}

#[tokio::test]
async fn a_grpc_origin_is_asked_by_the_grpc_health_protocol() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let upstream = format!("http://{}", grpc_server().await);
    let checks = "grpc,grpc:good,grpc:bad,grpc:unknown";
    let flags = ["--health-listen", "127.0.0.1:0", "--upstream", &upstream, "--origin-health-check", checks];
    let gate = Gate::start(&issuer, &origin, &flags);
    for (query, status, told) in [
        ("grpc", 200, "ok"),
        ("grpc=good", 200, "ok"),
        ("grpc=bad", 503, "the origin is not serving"),
        ("grpc=unknown", 503, "the origin answered with gRPC status 5"),
    ] {
        let (found, text) = status_and_text(gate.health_addr(), &format!("/healthz/origin?{query}")).await;
        assert_eq!(found, status, "{query}: {text}");
        assert!(text.starts_with(told), "{query}: {text}");
    }
}
