//! A good start.

use claimgate::cli::Flags;
use clap::CommandFactory;
use serde_json::Value;

use crate::support::binary::find_member;
use crate::support::{Binary, Issuer, Origin, client, eventually};

fn first_line(binary: &Binary) -> Value {
    serde_json::from_str(&binary.stderr()[0]).unwrap()
}

#[tokio::test]
async fn version_and_help_are_told_on_stdout() {
    let version = Binary::run(&["--version"], &[]).await;
    assert_eq!((version.code, &*version.stdout), (Some(0), concat!("claimgate ", env!("CARGO_PKG_VERSION"))));
    let help = Binary::run(&["--help"], &[]).await;
    assert_eq!((help.code, &*help.stderr), (Some(0), ""));
    for word in ["--upstream", "--issuer", "--audience", "demo"] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
}

#[test]
fn every_flag_has_its_variable() {
    let command = Flags::command();
    let flags: Vec<_> = command.get_arguments().filter_map(|argument| Some((argument.get_long()?, argument))).collect();
    assert!(flags.len() > 30);
    for (flag, argument) in flags.into_iter().filter(|(flag, _)| !matches!(*flag, "help" | "version")) {
        let expected = format!("CLAIMGATE_{}", flag.to_uppercase().replace('-', "_"));
        assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(&*expected));
        assert!(argument.get_help().is_some(), "{flag} has no help");
    }
}

#[test]
fn every_flag_in_the_documentation_exists() {
    let pages = ["README.md", "docs/limits.md", "docs/listener.md", "docs/metrics.md", "docs/scale.md"];
    let documentation = pages.map(|page| std::fs::read_to_string(page).unwrap()).concat();
    let command = Flags::command();
    let subcommands = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let known: Vec<_> = command.get_arguments().chain(subcommands).filter_map(clap::Arg::get_long).collect();
    let words = documentation.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let flags: Vec<_> = words.filter_map(|word| word.strip_prefix("--")).filter(|flag| flag.len() > 1).collect();
    assert!(flags.len() > 20);
    for flag in flags {
        // Cargo's own.
        if !matches!(flag, "release" | "locked" | "path" | "bench" | "help" | "version") && !flag.starts_with('-') {
            assert!(known.contains(&flag), "--{flag}");
        }
    }
}

#[tokio::test]
async fn the_first_line_tells_the_effective_settings() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url(), "--leeway", "7s"]);
    binary.addr().await;
    let line = first_line(&binary);
    assert_eq!(find_member(&line, "version").unwrap(), env!("CARGO_PKG_VERSION"));
    let text = line.to_string();
    for expected in [&issuer.url(), &*origin.addr().to_string(), "7s", "audience=any"] {
        assert!(text.to_lowercase().contains(&expected.to_lowercase()), "{expected}: {text}");
    }
}

#[tokio::test]
async fn without_an_audience_it_warns() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    for (flags, expected) in [(&[][..], true), (&["--audience", "orders"], false)] {
        let (issuer, origin) = (issuer.url(), origin.url());
        let flags = [&["--issuer", &*issuer, "--upstream", &*origin], flags].concat();
        let binary = Binary::start(&flags);
        let admin = binary.admin_addr().await;
        eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
        let warned = binary.stderr().iter().any(|line| line.contains("WARN") && line.contains("--audience"));
        assert_eq!(warned, expected, "{:#?}", binary.stderr());
        let verbose = client::get_local(admin, "/readyz?verbose").await.text();
        assert_eq!(verbose.contains("audience"), expected, "{verbose}");
    }
}

#[tokio::test]
async fn settings_come_from_variables_and_flags_go_before_them() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let env = [
        ("CLAIMGATE_ISSUER", &*issuer.url()),
        ("CLAIMGATE_UPSTREAM", &*origin.url()),
        ("CLAIMGATE_LISTEN", "127.0.0.1:0"),
        ("CLAIMGATE_ADMIN_LISTEN", "127.0.0.1:0"),
        ("CLAIMGATE_LOG_FORMAT", "json"),
        ("CLAIMGATE_AUDIENCE", "orders,billing"),
        ("CLAIMGATE_REALM", "from the environment"),
        ("CLAIMGATE_SKIP_AUTH_PREFLIGHT", "true"),
    ];
    for (flags, realm) in [(&[][..], "from the environment"), (&["--realm", "from a flag"], "from a flag")] {
        let binary = Binary::spawn(flags, &env);
        let (addr, admin) = (binary.addr().await, binary.admin_addr().await);
        eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
        let refused = client::get(addr, "/", None).await;
        assert_eq!(refused.header("www-authenticate"), Some(&*format!("Bearer realm=\"{realm}\"")));
        for (audience, status) in [("orders", 200), ("billing", 200), ("orders,billing", 401)] {
            let token = issuer.token().claim("aud", audience).sign();
            assert_eq!(client::get(addr, "/", Some(&token)).await.status, status, "{audience}");
        }
        let preflight = "Origin: https://a.example.com\r\nAccess-Control-Request-Method: PUT\r\n";
        let response = client::exchange(addr, client::request("OPTIONS", "/", None, preflight)).await;
        assert_eq!(response.status, 200);
    }
}

#[tokio::test]
async fn the_ipv6_wildcard_takes_ipv4_too() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url(), "--listen", "[::]:0"]);
    let port = binary.addr().await.port();
    for addr in ["127.0.0.1", "[::1]"] {
        let addr = format!("{addr}:{port}").parse().unwrap();
        assert_eq!(client::get(addr, "/", None).await.status, 401);
    }
    let token = issuer.token().sign();
    let addr = format!("127.0.0.1:{port}").parse().unwrap();
    eventually("it has keys", async || client::get(addr, "/", Some(&token)).await.status == 200).await;
    let forwarded = origin.last().header("x-forwarded-for").unwrap().to_owned();
    assert_eq!(forwarded, "127.0.0.1", "an IPv4 client is one");
}

#[tokio::test]
async fn the_access_log_tells_what_it_is_asked_to() {
    for (which, refused, passed) in [("denied", true, false), ("all", true, true), ("off", false, false)] {
        let (issuer, origin) = (Issuer::start(), Origin::start());
        let flags = ["--issuer", &issuer.url(), "--upstream", &origin.url(), "--access-log", which];
        let binary = Binary::start(&flags);
        let addr = binary.addr().await;
        let token = issuer.token().sign();
        eventually("it has keys", async || client::get(addr, "/", Some(&token)).await.status == 200).await;
        assert_eq!(client::get(addr, "/passed?secret", Some(&token)).await.status, 200);
        assert_eq!(client::get(addr, "/refused?secret", None).await.status, 401);
        binary.signal("TERM");
        let stdout = binary.wait().await.stdout;
        assert_eq!(stdout.contains("/refused"), refused, "{which}: {stdout}");
        assert_eq!(stdout.contains("/passed"), passed, "{which}: {stdout}");
        assert!(!stdout.contains("secret"), "a query may hold secrets: {stdout}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_logged_as_499() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url()]);
    let addr = binary.addr().await;
    let token = issuer.token().sign();
    eventually("it has keys", async || client::get(addr, "/", Some(&token)).await.status == 200).await;
    origin.reply(crate::support::Reply::never());
    let begun = origin.begun();
    let mut client = client::Client::connect(addr).await;
    client.send(client::request("GET", "/gone", Some(&token), "")).await;
    origin.has_begun(begun + 1).await;
    drop(client);
    eventually("it is logged", async || {
        binary
            .log()
            .iter()
            .any(|line| line["path"] == "/gone" && line["status"] == 499 && line["outcome"] == "client_gone")
    })
    .await;
}

#[tokio::test]
async fn a_malformed_body_is_logged_as_what_it_is_and_not_as_a_client_that_went_away() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url()]);
    let addr = binary.addr().await;
    let token = issuer.token().sign();
    eventually("it has keys", async || client::get(addr, "/", Some(&token)).await.status == 200).await;
    let chunked = client::request("POST", "/chunked", Some(&token), "Transfer-Encoding: chunked\r\n");
    assert_eq!(client::exchange(addr, chunked + "zz\r\n").await.status, 400);
    eventually("it is logged", async || {
        binary.log().iter().any(|line| {
            line["path"] == "/chunked" && line["outcome"] == "denied" && line["reason"] == "malformed_request"
        })
    })
    .await;
}

#[tokio::test]
async fn text_logs_are_for_people() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let flags = ["--issuer", &issuer.url(), "--upstream", &origin.url(), "--log-format", "text"];
    let binary = Binary::start(&flags);
    eventually("it says something", async || !binary.stderr().is_empty()).await;
    assert!(serde_json::from_str::<Value>(&binary.stderr()[0]).is_err(), "{:?}", binary.stderr());
}
