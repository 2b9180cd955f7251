//! What users read when they mistype, and what they do about it.

use std::net::TcpListener;

use crate::support::{Binary, Issuer, Origin, client, eventually};

const GOOD: [&str; 4] = ["--upstream", "http://127.0.0.1:3000", "--issuer", "https://issuer.example.com"];

#[tokio::test]
async fn a_mistyped_flag_is_told_with_what_to_type() {
    for (flags, told) in [
        (
            &["--audience", ""][..],
            "--audience '': it is empty, perhaps from a variable that is not set; name the service",
        ),
        (&["--audience=a,"], "without an audience, those for any other service pass too"),
        (&["--tls-cert-file=", "--tls-key-file=/k"], "name the file: without it, there is no TLS"),
        (
            &["--tls-cert-file=/c", "--tls-key-file=/k", "--tls-client-ca-file="],
            "name the file: without it, clients need no certificate",
        ),
        (&["--allowed-alg="], "name an algorithm"),
        (&["--leeway", "-5s"], "--leeway '-5s': it cannot be negative; it must be from 0s to 5m"),
        (&["--drain-delay", "-1m"], "--drain-delay '-1m': it cannot be negative"),
        (&["--workers", "-1"], "--workers '-1': it must be a number from 1 to 64"),
        (&["--max-body-size", "-1MiB"], "--max-body-size '-1MiB'"),
        (&["--verbose"], "use  --log-level debug"),
        (&["-v"], "use  --log-level debug"),
        (&["--port=80"], "use  --listen 0.0.0.0:PORT"),
        (&["--oidc-client-id", "a"], "use  --audience AUD"),
        (&["--skip-auth-preflight=maybe"], "--skip-auth-preflight"),
    ] {
        let ended = Binary::run(&[&GOOD[..], flags].concat(), &[]).await;
        assert_eq!(ended.code, Some(2), "{flags:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(told), "{flags:?}: {}", ended.stderr);
    }
    let ended = Binary::run(&GOOD, &[("CLAIMGATE_AUDIENCE", "")]).await;
    assert!(ended.stderr.contains("--audience '' (from CLAIMGATE_AUDIENCE): it is empty"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("leave it out"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_switch_may_be_given_its_value() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (issuer_url, upstream) = (issuer.url(), origin.url());
    let usual = ["--issuer", &*issuer_url, "--upstream", &*upstream];
    let preflight = "Origin: https://a.example.com\r\nAccess-Control-Request-Method: PUT\r\nConnection: close\r\n";
    for (flag, status) in [
        ("--skip-auth-preflight", 200),
        ("--skip-auth-preflight=true", 200),
        ("--skip-auth-preflight=yes", 200),
        ("--skip-auth-preflight=false", 401),
        ("--insecure-issuer=true", 401),
        ("--proxy-protocol=false", 401),
    ] {
        let addr = Binary::start(&[&usual[..], &[flag]].concat());
        let response = client::exchange(addr.addr().await, client::request("OPTIONS", "/", None, preflight)).await;
        assert_eq!(response.status, status, "{flag}");
    }
}

#[tokio::test]
async fn the_first_line_tells_what_is_not_as_by_default_and_debug_tells_all() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (issuer_url, upstream) = (issuer.url(), origin.url());
    for (flags, settings) in [
        (&[][..], format!("upstream={upstream} issuer={issuer_url} audience=any")),
        (&["--leeway", "30s"], format!("upstream={upstream} issuer={issuer_url} audience=any")),
        (
            &["--leeway", "7s", "--audience", "a"],
            format!("upstream={upstream} issuer={issuer_url} audience=a leeway=7s"),
        ),
        (
            &["--stream-expiry", "ignore"],
            format!("upstream={upstream} issuer={issuer_url} audience=any stream_expiry=ignore"),
        ),
    ] {
        let usual = ["--issuer", &*issuer_url, "--upstream", &*upstream];
        let binary = Binary::start(&[&usual[..], flags, &["--log-level", "debug"]].concat());
        binary.addr().await;
        eventually("all are told", async || binary.log().iter().any(|line| line["msg"] == "all settings")).await;
        let first = &binary.log()[0];
        // Where the machine has roots of its own, that is told, too.
        assert_eq!((&first["msg"], &first["level"]), (&"claimgate serves".into(), &"INFO".into()), "{first}");
        let text = first["settings"].as_str().unwrap();
        assert_eq!(text.replace(" log_level=debug", ""), settings, "{flags:?}");
        let all = binary.log().into_iter().find(|line| line["msg"] == "all settings").unwrap();
        let all_text = all["settings"].as_str().unwrap();
        assert!(all_text.contains("claims_header=x-jwt-claims") && all_text.contains("header_timeout=10s"), "{all}");
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_told_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for (flags, remedy) in [
        (
            ["--listen", &*addr],
            "another process listens there (`ss -ltnp` shows which): stop it, or choose another port with --listen",
        ),
        (["--health-listen", &*addr], "choose another port with --health-listen"),
        (["--admin-listen", &*addr], "choose another port with --admin-listen"),
        // RFC 5737.
        (["--listen", "192.0.2.1:0"], "this machine has no such address"),
    ] {
        let usual = [("--listen", "127.0.0.1:0"), ("--admin-listen", "off")];
        let usual = usual.into_iter().filter(|(flag, _)| *flag != flags[0]).flat_map(|(flag, value)| [flag, value]);
        let arguments: Vec<_> = GOOD.into_iter().chain(usual).chain(flags).collect();
        let ended = Binary::run(&arguments, &[]).await;
        assert_eq!(ended.code, Some(1), "{flags:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(remedy), "{flags:?}: {}", ended.stderr);
    }
}
