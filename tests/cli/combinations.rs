//! Settings that are each right and together almost surely a mistake: refused, or warned of where they may be meant.

use crate::support::{Binary, Issuer, client, eventually};

const USUAL: [&str; 6] = ["--issuer", "https://issuer.example.com", "--audience", "a", "--admin-listen", "off"];

async fn refused(flags: &[&str]) -> String {
    let ended = Binary::run(&[&USUAL[..], flags].concat(), &[]).await;
    assert_eq!(ended.code, Some(2), "{flags:?}: {}", ended.stderr);
    ended.stderr
}

#[tokio::test]
async fn an_upstream_that_is_the_gates_own_listener_is_refused() {
    for (listen, upstream) in [
        ("127.0.0.1:4180", "http://127.0.0.1:4180"),
        ("0.0.0.0:4180", "http://127.0.0.1:4180"),
        ("0.0.0.0:4180", "http://localhost:4180"),
        ("0.0.0.0:4180", "http://LOCALHOST.:4180"),
        ("0.0.0.0:4180", "h2c://0.0.0.0:4180"),
        ("0.0.0.0:4180", "http://127.8.9.1:4180"),
        ("127.0.0.1:4180", "http://0.0.0.0:4180"),
        ("127.0.0.1:4180", "http://[::ffff:127.0.0.1]:4180"),
        ("[::]:4180", "http://127.0.0.1:4180"),
        ("[::]:4180", "https://[::1]:4180"),
        ("[::1]:4180", "http://[::]:4180"),
        ("[::1]:4180", "http://localhost:4180"),
        (":80", "http://localhost"),
        ("0.0.0.0:443", "https://localhost"),
        ("10.1.2.3:4180", "http://10.1.2.3:4180"),
        ("unix:/run/gate.sock", "unix:/run/gate.sock"),
        ("unix:/run/gate.sock", "unix+h2c:/run//./gate.sock"),
    ] {
        let told = refused(&["--listen", listen, "--upstream", upstream]).await;
        assert!(told.contains("it is this gate's own --listen") && told.contains("--upstream"), "{listen} {told}");
    }
    for flags in [["--health-listen", "0.0.0.0:9181"], ["--admin-listen", "127.0.0.1:9181"]] {
        let usual = ["--issuer", "https://issuer.example.com", "--upstream", "http://127.0.0.1:9181"];
        let ended = Binary::run(&[&usual[..], &flags].concat(), &[]).await;
        assert_eq!(ended.code, Some(2), "{flags:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(&format!("this gate's own {}", flags[0])), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_its_fix() {
    for (flag, value, fix) in [
        ("--token-cache-size", "16", "16 bytes hold no token; use 16MiB"),
        ("--token-cache-size", "1KiB", "at least 4KiB, or 0 for none"),
        ("--token-cache-size", "17GiB", "at most 16GiB"),
    ] {
        let told = refused(&["--upstream", "http://127.0.0.1:3000", flag, value]).await;
        assert!(told.contains(&format!("error: {flag} '")) && told.contains(fix), "{flag} {value}: {told}");
    }
}

#[tokio::test]
async fn what_may_be_meant_is_warned_of() {
    let issuer = Issuer::start();
    let url = issuer.url();
    for (upstream, flags, warning) in [
        ("http://app.shop.svc:8080", &[][..], Some("--upstream http://app.shop.svc:8080: it is not on this machine")),
        ("h2c://10.0.0.7:50051", &[], Some("--upstream h2c://10.0.0.7:50051: it is not on this machine")),
        ("http://localhost.example.com", &[], Some("it is not on this machine")),
        ("http://127.0.0.1:3000", &["--skip-auth-route", "GET=/*"], Some("--skip-auth-route GET=/*: each of these")),
        ("http://127.0.0.1:3000", &["--skip-auth-route", "/*"], Some("/*: every request passes without a token")),
        ("http://127.0.0.1:3000", &["--skip-auth-route", "/a,/*"], Some("name what is public")),
        ("http://127.0.0.1:3000", &["--max-body-size", "10"], Some("was 10MiB meant?")),
        ("http://127.0.0.1:50051", &["--origin-health-check", "grpc"], Some("use h2c://127.0.0.1:50051")),
        ("unix:/run/app.sock", &["--origin-health-check", "grpc:a"], Some("use unix+h2c:/run/app.sock")),
        ("http://127.0.0.1:3000", &["--skip-auth-route", "/docs/*"], None),
        ("http://[::1]:3000", &["--max-body-size", "10MiB"], None),
        ("h2c://localhost:50051", &["--origin-health-check", "grpc"], None),
        ("https://app.shop.svc", &[], None),
        ("unix:/run/app.sock", &[], None),
    ] {
        let binary = Binary::start(&[&["--issuer", &url, "--audience", "a", "--upstream", upstream], flags].concat());
        let admin = binary.admin_addr().await;
        eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
        let warnings: Vec<_> = binary.stderr().into_iter().filter(|line| line.contains("\"WARN\"")).collect();
        assert_eq!(warnings.len(), usize::from(warning.is_some()), "{upstream} {flags:?}: {warnings:?}");
        let details = client::get_local(admin, "/readyz?verbose").await.text();
        if let Some(told) = warning {
            assert!(
                warnings[0].contains(told) && details.contains(told),
                "{upstream} {flags:?}: {warnings:?} {details}"
            );
        }
    }
}
