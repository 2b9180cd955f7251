//! Every mistake at once, with its fix, before a port is bound.

use std::net::TcpListener;

use crate::support::Binary;
use crate::support::binary::Ended;

const GOOD: [&str; 4] = ["--upstream", "http://127.0.0.1:3000", "--issuer", "https://issuer.example.com"];

const MISTAKES: [(&str, &str); 61] = [
    ("--upstream", "127.0.0.1:3000"),
    ("--upstream", "not a url"),
    ("--upstream", "ftp://127.0.0.1"),
    ("--upstream", "http://"),
    ("--upstream", "http://user@127.0.0.1"),
    ("--upstream", "http://127.0.0.1/path"),
    ("--issuer", "issuer.example.com"),
    ("--issuer", "ftp://issuer.example.com"),
    ("--issuer", "http://issuer.example.com"),
    ("--issuer", "https://issuer.example.com?a=b"),
    ("--issuer", "https://issuer.example.com#a"),
    ("--issuer", "https://user:pass@issuer.example.com"),
    ("--jwks-url", "keys.json"),
    ("--jwks-url", "http://issuer.example.com/keys"),
    ("--allowed-alg", "HS256"),
    ("--allowed-alg", "none"),
    ("--jwks-cache-dir", "/nonexistent"),
    ("--allowed-alg", "RS255"),
    ("--claims-header", "Host"),
    ("--claims-header", "content_length"),
    ("--claims-header", "Authorization"),
    ("--claims-header", "X-Forwarded-For"),
    ("--claims-header", "not a name"),
    ("--claims-header", ""),
    ("--claims-format", "xml"),
    ("--claim-header", "sub"),
    ("--claim-header", "=X-User"),
    ("--claim-header", "sub=Cookie"),
    ("--claim-header", "sub=Transfer-Encoding"),
    ("--forward-token", "maybe"),
    ("--skip-auth-route", "health"),
    ("--skip-auth-route", "/a*b"),
    ("--skip-auth-route", "/a/../b"),
    ("--skip-auth-route", "/a%2fb"),
    ("--trusted-proxy", "10.0.0.0/33"),
    ("--trusted-proxy", "proxy.example.com"),
    ("--realm", "a\"b"),
    ("--listen", "nowhere"),
    ("--listen", "127.0.0.1:99999"),
    ("--admin-listen", "0.0.0.0:9180"),
    ("--workers", "0"),
    ("--workers", "many"),
    ("--leeway", "6m"),
    ("--leeway", "forever"),
    ("--header-timeout", "0s"),
    ("--header-timeout", "soon"),
    ("--upstream-timeout", "0s"),
    ("--upstream-timeout", "10years"),
    ("--idle-timeout", "0s"),
    ("--jwks-timeout", "0s"),
    ("--jwks-refresh-cooldown", "0s"),
    ("--shutdown-grace-period", "1year"),
    ("--max-header-size", "1"),
    ("--max-upstream-connections", "0"),
    ("--max-upstream-connections", "many"),
    ("--max-waiting-requests", "few"),
    ("--max-header-size", "1GiB"),
    ("--claims-header-max", "big"),
    ("--log-format", "xml"),
    ("--log-level", "loud[["),
    ("--access-log", "some"),
];

async fn refused(arguments: &[&str]) -> Ended {
    let ended = Binary::run(arguments, &[]).await;
    assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
    assert_eq!(ended.stdout, "", "{arguments:?}");
    ended
}

/// The good flags with one of them replaced or added.
fn with<'a>(flag: &'a str, value: &'a str) -> Vec<&'a str> {
    let pairs = GOOD.chunks(2).filter(|pair| pair[0] != flag);
    let mut arguments: Vec<_> = pairs.flatten().copied().collect();
    arguments.extend([flag, value]);
    arguments
}

#[tokio::test]
async fn without_flags_it_says_what_it_needs() {
    let stderr = refused(&[]).await.stderr;
    assert!(stderr.contains("--upstream") && stderr.contains("--issuer"), "{stderr}");
}

#[tokio::test]
async fn each_mistake_is_named_with_its_value() {
    for (flag, value) in MISTAKES {
        let stderr = refused(&with(flag, value)).await.stderr;
        assert!(stderr.contains(flag), "{flag} {value}: {stderr}");
        // What of a URL may be a secret is not shown.
        let is_secret = matches!(flag, "--upstream" | "--issuer" | "--jwks-url") && value.contains(['@', '?', '#']);
        assert_eq!(stderr.contains(value), !is_secret, "{flag} {value}: {stderr}");
    }
}

#[tokio::test]
async fn two_headers_that_an_origin_reads_as_one_are_refused() {
    for pair in ["sub=X_JWT_Claims", "sub=x-jwt-claims", "sub=X.Jwt.Claims"] {
        let stderr = refused(&with("--claim-header", pair)).await.stderr;
        assert!(stderr.contains("--claim-header") && stderr.contains(pair), "{pair}: {stderr}");
    }
}

#[tokio::test]
async fn all_mistakes_are_told_at_once() {
    let arguments = [
        "--upstream",
        "ftp://x",
        "--issuer",
        "http://issuer.example.com",
        "--allowed-alg",
        "HS256",
        "--claims-header",
        "Host",
        "--leeway",
        "1h",
        "--header-timeout",
        "0s",
        "--claim-header",
        "sub=X-A",
        "--claim-header",
        "name=x_a",
        "--trusted-proxy",
        "nobody",
    ];
    let stderr = refused(&arguments).await.stderr;
    for flag in arguments.iter().filter(|argument| argument.starts_with("--")) {
        assert!(stderr.contains(flag), "{flag}: {stderr}");
    }
    assert!(stderr.contains("--insecure-issuer"), "the fix is named: {stderr}");
    assert!(stderr.contains("claimgate --help"), "{stderr}");
}

#[tokio::test]
async fn a_mistake_in_a_variable_is_named_too() {
    let env = [("CLAIMGATE_UPSTREAM", "nonsense"), ("CLAIMGATE_ISSUER", "https://issuer.example.com")];
    let ended = Binary::run(&[], &env).await;
    assert_eq!(ended.code, Some(2));
    let names = ["--upstream", "CLAIMGATE_UPSTREAM"];
    assert!(
        names.iter().any(|name| ended.stderr.contains(name)) && ended.stderr.contains("nonsense"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn no_port_is_bound_before_the_flags_are_right() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let mut arguments = with("--leeway", "1h");
    arguments.extend(["--listen", &addr]);
    let stderr = refused(&arguments).await.stderr;
    assert!(stderr.contains("--leeway") && !stderr.contains("in use"), "{stderr}");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--health-listen", "--admin-listen"] {
        let mut arguments = [&GOOD[..], &["--listen", "127.0.0.1:0", "--admin-listen", "off"]].concat();
        arguments.retain(|argument| *argument != flag || flag != "--listen");
        match flag {
            "--listen" => arguments = [&GOOD[..], &["--admin-listen", "off", "--listen", &addr]].concat(),
            "--admin-listen" => arguments = [&GOOD[..], &["--listen", "127.0.0.1:0", "--admin-listen", &addr]].concat(),
            _ => arguments.extend([flag, &addr]),
        }
        let ended = Binary::run(&arguments, &[]).await;
        assert_eq!(ended.code, Some(1), "{flag}: {}", ended.stderr);
        assert!(ended.stderr.contains(flag) && ended.stderr.contains(&addr), "{flag}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn an_unknown_flag_is_refused() {
    let stderr = refused(&["--no-such-flag"]).await.stderr;
    assert!(stderr.contains("--no-such-flag"), "{stderr}");
}
