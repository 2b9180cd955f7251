use clap::{CommandFactory, Parser};

use super::*;

const GOOD: [&str; 4] = ["--upstream", "http://127.0.0.1:3000", "--issuer", "https://issuer.example.com"];

fn resolve_in(environment: &[(&str, &str)], flags: &[&str]) -> Result<Config, String> {
    let flags = Flags::try_parse_from([&["claimgate"], flags].concat()).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::resolve_in(&environment, &flags).map_err(|mistakes| mistakes.to_string())
}

fn resolve(flags: &[&str]) -> Result<Config, String> {
    resolve_in(&[], flags)
}

/// The good flags and one more, which goes before a good one of its name.
fn with(flag: &str, value: &str) -> Result<Config, String> {
    let good = GOOD.chunks(2).filter(|pair| pair[0] != flag).flatten().copied();
    resolve(&good.chain([flag, value]).collect::<Vec<_>>())
}

/// Each with words of its fix.
#[rustfmt::skip]
const MISTAKES: &[(&str, &str, &str)] = &[
    ("--upstream", "127.0.0.1:3000", "http://HOST[:PORT]"),
    ("--upstream", "https://user@127.0.0.1", "leave them out"),
    ("--upstream", "h2c://127.0.0.1/api", "use h2c://127.0.0.1"),
    ("--upstream", "unix:run/origin.sock", "by its whole path"),
    ("--upstream", "unix:/run/", "by its whole path"),
    ("--upstream", "ftp://127.0.0.1", "only http://"),
    ("--upstream-ca-file", "/nowhere/ca.pem", "it is for --upstream https://"),
    ("--upstream-client-cert-file", "/nowhere/c.pem", "it is for --upstream https://"),
    ("--upstream-client-key-file", "/nowhere/k.pem", "it is for --upstream https://"),
    ("--upstream-server-name", "service", "it is for --upstream https://"),
    ("--upstream", "http://user:pass@127.0.0.1", "leave them out"),
    ("--upstream", "http://127.0.0.1:3000/api", "use http://127.0.0.1:3000"),
    ("--upstream", "http://127.0.0.1:3000/?a", "use http://127.0.0.1:3000"),
    // `http::Uri` would drop it without a word.
    ("--upstream", "http://127.0.0.1:3000#a", "use http://127.0.0.1:3000"),
    ("--upstream", "http://127.0.0.1:0", "from 1 to 65535"),
    ("--upstream", "http://127.0.0.1:65536", "from 1 to 65535"),
    ("--upstream", " ", "leave it out"),
    ("--issuer", "issuer.example.com", "https://issuer.example.com"),
    ("--issuer", "http://issuer.example.com", "use https://, or --insecure-issuer"),
    ("--issuer", "http://127.0.0.1.example.com", "use https://, or --insecure-issuer"),
    ("--issuer", "ftp://issuer.example.com", "https://"),
    // RFC 8414 §2.
    ("--issuer", "https://issuer.example.com?tenant=a", "no query"),
    ("--issuer", "https://issuer.example.com#a", "no query and no fragment"),
    ("--issuer", "https://user@issuer.example.com", "leave them out"),
    // What the URL standard's parser would mend, and no token carries.
    ("--issuer", "https:issuer.example.com", "such as https://"),
    ("--issuer", "https:///issuer.example.com", "such as https://"),
    ("--issuer", "https://@issuer.example.com", "leave them out"),
    ("--issuer", "https://issuer.example.com\\tenant", "without spaces and `\\`"),
    ("--issuer", "https://issuer.exa\tmple.com", "without spaces"),
    ("--issuer", "https://issuer.example.com/\u{e9}", "in ASCII"),
    ("--issuer", "file:///issuer", "the scheme file: is not supported"),
    ("--issuer", "urn:example:issuer", "needs --jwks-url"),
    ("--issuer", "accounts.example.com", "needs --jwks-url"),
    ("--jwks-url", "file:///keys.json", "the scheme file: is not supported"),
    ("--jwks-url", "data:x", "the scheme data: is not supported"),
    ("--upstream", "file:///run/a.sock", "this scheme is not supported"),
    ("--upstream", "ws://127.0.0.1", "this scheme is not supported"),
    ("--jwks-url", "keys.json", "such as https://"),
    ("--jwks-url", "http://issuer.example.com/keys", "--insecure-issuer"),
    ("--audience", " ", "name the service"),
    ("--leeway", "6m", "from 0s to 5m"),
    ("--leeway", "30", "such as 300ms, 30s or 5m"),
    ("--jwks-cache-dir", "/nonexistent", "has to be there"),
    ("--jwks-cache-dir", "/dev/null", "it is no directory"),
    // Nobody makes a file there, not even root.
    ("--jwks-cache-dir", "/proc", "no file can be made there"),
    ("--allowed-alg", "HS256", "known are RS256"),
    ("--allowed-alg", "HS256", "it is refused on purpose: who can check an HMAC"),
    ("--allowed-alg", "hs512", "it is refused on purpose: who can check an HMAC"),
    ("--allowed-alg", "none", "known are RS256"),
    ("--allowed-alg", "none", "it is refused on purpose: what is not signed"),
    ("--allowed-alg", "ES256K", "it is not known; known are RS256"),
    ("--max-token-lifetime", "0s", "from 1s to 1year"),
    ("--max-token-lifetime", "off", "such as 300ms, 30s or 5m"),
    ("--issuer-ca-file", "/nonexistent", "cannot be read"),
    ("--issuer-ca-file", "Cargo.toml", "no certificate in PEM"),
    ("--jwks-bearer-token-file", "/nonexistent", "cannot be read"),
    ("--jwks-bearer-token-file", "/dev/null", "it is no file"),
    ("--jwks-bearer-token-file", "Cargo.toml", "no bearer token"),
    ("--jwks-refresh-cooldown", "0s", "from 1s to 1h"),
    ("--jwks-timeout", "1h", "from 100ms to 1m"),
    ("--jwks-max-stale", "0s", "from 1s"),
    ("--realm", "a\"b", "without \" and \\"),
    ("--realm", "a\\b", "without \" and \\"),
    ("--realm", "caf\u{e9}", "ASCII"),
    ("--skip-auth-route", "health", "/"),
    ("--skip-auth-route", "/a/../b", "--skip-auth-route"),
    ("--trusted-proxy", "10.0.0.0/33", "such as 10.0.0.0/8"),
    ("--trusted-proxy", "proxy.example.com", "such as 10.0.0.0/8"),
    ("--trusted-proxy", "unix:/run/gate.sock", "or unix"),
    ("--claims-header", "Host", "use another name"),
    ("--claims-header", "content_length", "use another name"),
    ("--claims-header", "X_Forwarded.For", "use another name"),
    ("--claims-header", "Authorization_", "use another name"),
    ("--claims-header", "!!", "needs letters"),
    ("--claims-header", "a b", "such as X-User"),
    ("--claims-format", "xml", "base64url or json"),
    ("--claim-header", "sub", "such as sub=X-User"),
    ("--claim-header", "=X-User", "has no name"),
    ("--claim-header", "sub=Cookie", "use another name"),
    ("--claim-header", "sub=X.JWT_Claims", "use another name"),
    ("--claim-header", "sub=X-User,name=x_user", "use another name"),
    ("--claims-header-max", "1GiB", "it must be from"),
    ("--forward-token", "maybe", "keep or strip"),
    ("--allow-upgrade", "h2c", "without an upgrade"),
    ("--allow-upgrade", "tcp,H2C", "without an upgrade"),
    ("--allow-upgrade", "HTTP/2.0", "without an upgrade"),
    ("--allow-upgrade", "a b", "such as tcp"),
    ("--token-websocket-protocol", "access token", "a prefix that ends with a dot, or a name"),
    ("--listen", "localhost", "such as 0.0.0.0:4180"),
    ("--listen", "4180", "unix:/run/claimgate.sock, or fd:3"),
    ("--listen", "unix:gate.sock", "must be absolute"),
    ("--listen", "unix:/run/", "must be absolute"),
    ("--listen", "fd:2", "the first is fd:3"),
    ("--listen", "fd:http", "the first is fd:3"),
    ("--health-listen", "yes", "such as 0.0.0.0:4180"),
    ("--origin-health-check", "healthz", "/PATH, tcp, grpc or grpc:SERVICE"),
    ("--origin-health-check", "/health check", "/PATH, tcp, grpc or grpc:SERVICE"),
    ("--origin-health-check", "grpc:", "/PATH, tcp, grpc or grpc:SERVICE"),
    ("--origin-health-check", "udp", "/PATH, tcp, grpc or grpc:SERVICE"),
    ("--admin-listen", "0.0.0.0:9180", "use --health-listen"),
    ("--admin-listen", "[::]:9180", "use --health-listen"),
    ("--workers", "0", "from 1 to 64"),
    ("--workers", "two", "from 1 to 64"),
    ("--max-connections", "0", "from 1 to"),
    ("--header-timeout", "0s", "from 10ms to 10m"),
    ("--idle-timeout", "10years", "from 10ms to 1day"),
    ("--stream-idle-timeout", "0s", "from 1ms"),
    ("--stream-expiry", "later", "close or ignore"),
    ("--upstream-timeout", "soon", "such as 300ms"),
    ("--drain-delay", "2h", "from 0s to 1h"),
    ("--min-body-rate", "fast", "such as 16KiB"),
    ("--max-header-size", "1KiB", "it must be from"),
    ("--max-header-size", "16XB", "such as 16KiB"),
    ("--max-body-size", "0", "it must be from"),
    ("--max-body-size", "1.5", "such as 16KiB"),
    ("--log-format", "xml", "json or text"),
    // A word that is no level would silence the log.
    ("--log-level", "verbose", "info,claimgate=debug"),
    ("--log-level", "loud[[", "error, warn, info"),
    ("--access-log", "some", "denied or all or off"),
];

#[test]
fn each_mistake_is_named_with_its_flag_its_value_and_its_fix() {
    for (flag, value, fix) in MISTAKES {
        let told = with(flag, value).map(|config| config.summary()).expect_err(&format!("{flag} {value:?}"));
        let shown = value.replace('\t', "\\t");
        // A list is told item by item.
        let shown = shown.rsplit(',').next().unwrap();
        // What of a URL may be a secret is not shown; how, is the next test's.
        let is_cut = matches!(*flag, "--issuer" | "--jwks-url" | "--upstream") && value.contains(['@', '?', '#']);
        let start = if is_cut { format!("error: {flag} '") } else { format!("error: {flag} '{shown}': ") };
        assert!(told.starts_with(&start), "{flag} {value:?}: {told}");
        assert!(told.contains(fix), "{flag} {value:?}: {told}");
        assert_eq!(told.lines().count(), 2, "{flag} {value:?}: {told}");
    }
}

#[test]
fn all_mistakes_are_told_together_in_the_order_of_the_help() {
    let told = resolve(&["--leeway", "1h", "--access-log", "some", "--claims-header", "Host", "--issuer", "x"]);
    let told = told.map(|config| config.summary()).unwrap_err();
    let flags: Vec<_> =
        told.lines().filter_map(|line| line.strip_prefix("error: ")?.split([' ', ':']).next()).collect();
    assert_eq!(flags, ["--upstream", "--issuer", "--leeway", "--claims-header", "--access-log"], "{told}");
    assert!(told.ends_with("\nsee claimgate --help"), "{told}");
}

#[test]
fn what_is_missing_is_told_with_its_variable() {
    let told = resolve(&[]).map(|config| config.summary()).unwrap_err();
    assert!(told.contains("--upstream: it is required (or CLAIMGATE_UPSTREAM)"), "{told}");
    assert!(told.contains("--issuer: it is required (or CLAIMGATE_ISSUER)"), "{told}");
}

#[test]
fn settings_that_exclude_each_other_are_told() {
    let two = ["--issuer", "https://a.example.com,https://b.example.com", "--upstream", "http://h"];
    let told = resolve(&[&two[..], &["--jwks-url", "https://a.example.com/k"]].concat());
    assert!(told.is_err_and(|told| told.contains("--jwks-url: with several issuers")));
    let told = resolve(&["--upstream", "http://h", "--issuer", "https://a.example.com,https://a.example.com"]);
    assert!(told.is_err_and(|told| told.contains("given twice")));
}

#[test]
fn what_an_origin_with_tls_needs_has_to_be_there() {
    let cases: [(&[&str], &str); 7] = [
        (&["--upstream-ca-file", "/nowhere/ca.pem"], "--upstream-ca-file '/nowhere/ca.pem': it cannot be read"),
        (&["--upstream-ca-file", "Cargo.toml"], "--upstream-ca-file 'Cargo.toml': it holds no certificate in PEM"),
        (&["--upstream-server-name", "a b"], "--upstream-server-name 'a b': it must be a host name"),
        (&["--upstream-client-cert-file", "c.pem"], "--upstream-client-key-file: it is required"),
        (&["--upstream-client-key-file", "k.pem"], "--upstream-client-cert-file: it is required"),
        (
            &["--upstream-client-cert-file", "/nowhere/c.pem", "--upstream-client-key-file", "Cargo.toml"],
            "--upstream-client-cert-file '/nowhere/c.pem': it cannot be read",
        ),
        (&["--upstream-client-cert-file", "Cargo.toml", "--upstream-client-key-file", "Cargo.toml"], "no certificate"),
    ];
    for (flags, expected) in cases {
        let usual = ["--upstream", "https://service:8443", "--issuer", "https://issuer.example.com"];
        let told = resolve(&[&usual[..], flags].concat()).map(|config| config.summary()).unwrap_err();
        assert!(told.contains(expected), "{flags:?}: {told}");
        assert_eq!(told.lines().count(), 2, "{flags:?}: {told}");
    }
}

#[test]
fn every_kind_of_origin_is_told_as_it_is_written() {
    for upstream in [
        "http://service",
        "https://service",
        "https://[::1]:8443",
        "h2c://service:50051",
        "unix:/run/service.sock",
        "unix+h2c:/run/service.sock",
    ] {
        let config = resolve(&["--upstream", upstream, "--issuer", "https://issuer.example.com"]).unwrap();
        assert_eq!(config.forward.upstream.to_string(), upstream);
        assert_eq!(config.forward.tls.is_some(), upstream.starts_with("https"), "{upstream}");
    }
}

#[test]
fn a_mistake_is_told_where_it_was_made() {
    let told = |environment: &[(&str, &str)], flags: &[&str]| {
        resolve_in(environment, &[&GOOD[..], flags].concat()).map(|config| config.summary()).unwrap_err()
    };
    let from_variable = told(&[("CLAIMGATE_LEEWAY", "1h")], &["--leeway", "1h"]);
    assert!(from_variable.starts_with("error: --leeway '1h' (from CLAIMGATE_LEEWAY): "), "{from_variable}");
    let from_list = told(&[("CLAIMGATE_ALLOWED_ALG", "RS256, none")], &["--allowed-alg", "RS256, none"]);
    assert!(from_list.starts_with("error: --allowed-alg ' none' (from CLAIMGATE_ALLOWED_ALG): "), "{from_list}");
    let from_flag = told(&[("CLAIMGATE_LEEWAY", "1m")], &["--leeway", "1h"]);
    assert!(from_flag.starts_with("error: --leeway '1h': "), "{from_flag}");
    let roots = told(&[("SSL_CERT_FILE", "/nonexistent")], &[]);
    assert!(roots.starts_with("error: SSL_CERT_FILE '/nonexistent': it cannot be read"), "{roots}");
}

#[test]
fn a_url_that_is_a_mistake_shows_no_query_and_no_user() {
    for (flag, url, shown) in [
        ("--jwks-url", "htp://keys.example/set?code=s3cret", "'htp://keys.example/set?…'"),
        ("--jwks-url", "keys.example/set?code=s3cret#s3cret", "'keys.example/set?…'"),
        ("--jwks-url", "https://u:s3cret@keys.example/", "'https://…@keys.example/'"),
        ("--jwks-url", "http://keys.example/#s3cret", "'http://keys.example/?…'"),
        ("--issuer", "https://issuer.example.com/a?s3cret", "'https://issuer.example.com/a?…'"),
        ("--issuer", "https://s3cret@issuer.example.com", "'https://…@issuer.example.com'"),
        ("--upstream", "http://user:s3cret@127.0.0.1:80", "'http://…@127.0.0.1:80'"),
    ] {
        let told = with(flag, url).map(|config| config.summary()).unwrap_err();
        assert!(told.contains(&format!("{flag} {shown}: ")) && !told.contains("s3cret"), "{told}");
        let variable = format!("CLAIMGATE_{}", flag[2..].to_uppercase().replace('-', "_"));
        let good = GOOD.chunks(2).filter(|pair| pair[0] != flag).flatten().copied();
        let flags: Vec<_> = good.chain([flag, url]).collect();
        let told = resolve_in(&[(&variable, url)], &flags).map(|config| config.summary()).unwrap_err();
        assert!(told.contains(&variable) && !told.contains("s3cret"), "{told}");
    }
}

#[test]
fn an_issuer_whose_keys_are_given_is_only_a_name() {
    let resolve = |issuer: &str, jwks_url: &str, flags: &[&str]| {
        resolve(&[&["--upstream", GOOD[1], "--issuer", issuer, "--jwks-url", jwks_url], flags].concat())
    };
    let token_file = ["--jwks-bearer-token-file", "src/config/tests.rs"];
    for issuer in [
        "sa@project.iam.gserviceaccount.com",
        "accounts.google.com",
        "andreas",
        "urn:example:issuer",
        "spiffe://example.org",
        "http://adfs.example.com/adfs/services/trust",
        "https://issuer.example.com?tenant=a",
        "the issuer",
    ] {
        let config = resolve(issuer, "https://keys.example/1", &["--audience", "a"]).unwrap();
        assert_eq!(config.issuers[0].identifier, issuer);
        let warned = config.warnings();
        assert!(!warned.iter().any(|warning| warning.contains("insecure")), "{warned:?}");
        // Nor with the flag, which nothing needs here.
        let config = resolve(issuer, "https://keys.example/1", &["--insecure-issuer"]).unwrap();
        assert!(!config.warnings().iter().any(|warning| warning.contains("forged")));
        let told = resolve(issuer, "https://keys.example/1", &token_file).map(|_| ()).unwrap_err();
        assert!(!told.contains("in the clear"), "{told}");
    }
    // Whatever the name, keys are fetched from where they may be forged.
    let told = resolve("https://issuer.example.com", "http://keys.example/1", &[]).map(|_| ()).unwrap_err();
    assert!(told.contains("--insecure-issuer"), "{told}");
    let config = resolve("urn:a", "http://keys.example/1", &["--insecure-issuer"]).unwrap();
    assert!(config.warnings().iter().any(|warning| warning.contains("keys of urn:a can be forged")));
    let told = resolve("urn:a\u{7}b", "https://keys.example/1", &[]).map(|_| ()).unwrap_err();
    assert!(told.contains("control character"), "{told}");
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = resolve(&GOOD).unwrap();
    let summary = config.summary();
    for expected in [
        "upstream=http://127.0.0.1:3000 ",
        " issuer=https://issuer.example.com ",
        " jwks_url=discovered ",
        " audience=any ",
        " leeway=30s ",
        " claims_header=x-jwt-claims ",
        " claims_format=base64url ",
        " claims_header_max=8192 ",
        " forward_token=keep ",
        " allow_upgrade= ",
        " token_websocket_protocol=off ",
        " header_timeout=10s ",
        " idle_timeout=1m15s ",
        " upstream_connect_timeout=2s ",
        " upstream_timeout=30s ",
        " upstream_idle_timeout=1s ",
        " stream_idle_timeout=5m ",
        " stream_expiry=close ",
        " min_body_rate=1024 ",
        " max_header_size=65536 ",
        " max_body_size=none ",
        " drain_delay=0s ",
        " shutdown_grace_period=25s ",
        " jwks_refresh_cooldown=10s ",
        " jwks_timeout=5s ",
        " jwks_max_stale=1day ",
        " jwks_cache_dir=off ",
        " realm=claimgate ",
        " log_level=info ",
        " access_log=denied",
    ] {
        assert!(summary.contains(expected), "{expected}: {summary}");
    }
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:4180");
    assert_eq!(config.admin_listen.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:9180"));
    assert_eq!(config.health_listen, None);
    assert!((1..=4).contains(&config.server.workers.get()));
    assert_eq!(config.forward.identity_names, ["x-jwt-claims"]);
    assert_eq!(config.issuers[0].allowed_algorithms, AlgorithmSet::ALL);
}

#[test]
fn the_summary_tells_every_flag() {
    let summary = format!(" {}", resolve(&GOOD).unwrap().summary());
    for flag in Flags::command().get_arguments().filter_map(|argument| argument.get_long()) {
        // The listeners' bound addresses stand beside the summary.
        if !matches!(flag, "help" | "version" | "listen" | "health-listen" | "admin-listen") {
            let key = format!(" {}=", flag.replace('-', "_"));
            assert!(summary.contains(&key), "{key} {summary}");
        }
    }
}

#[test]
fn values_are_taken_as_they_were_meant() {
    let config = resolve(&[
        "--upstream",
        "http://[::1]/",
        "--issuer",
        "https://A.example.com/x/ , http://localhost:1, http://127.9.9.9\n",
        "--audience",
        "a, b",
        "--claim-header",
        "https://example.com/a=b=X-A",
        "--trusted-proxy",
        "::1,10.0.0.0/8",
        "--max-body-size",
        "1.5MiB",
        "--min-body-rate",
        "0",
        "--listen",
        ":80",
        "--admin-listen",
        "OFF",
        "--log-level",
        "warn,claimgate=debug",
        "--jwks-timeout",
        "300ms",
    ])
    .unwrap();
    assert_eq!(config.forward.upstream.to_string(), "http://[::1]");
    // Byte for byte as tokens carry it: neither the case nor the slash is changed.
    let identifiers: Vec<_> = config.issuers.iter().map(|issuer| &*issuer.identifier).collect();
    assert_eq!(identifiers, ["https://A.example.com/x/", "http://localhost:1", "http://127.9.9.9"]);
    assert_eq!(config.expectations.audiences, ["a", "b"]);
    assert_eq!(config.claims_headers.claim_headers[0].claim, "https://example.com/a=b");
    assert_eq!(config.forward.identity_names, ["x-a", "x-jwt-claims"]);
    assert_eq!(config.forward.trusted_proxies.networks.len(), 2);
    assert_eq!((config.forward.max_body_size, config.forward.min_body_rate), (Some(3 << 19), 0));
    assert_eq!((config.server.listen.to_string().as_str(), config.admin_listen), ("0.0.0.0:80", None));
    assert_eq!(config.issuers[0].timeout, Duration::from_millis(300));
}

#[test]
fn a_plain_issuer_needs_the_flag_and_is_warned_of() {
    let plain = ["--upstream", "http://h", "--issuer", "http://issuer.example.com", "--insecure-issuer"];
    let warnings = resolve(&plain).unwrap().warnings();
    assert!(warnings.iter().any(|warning| warning.contains("http://issuer.example.com")), "{warnings:?}");
    let with_https = resolve(&[&GOOD[..], &["--insecure-issuer", "--audience", "a"]].concat()).unwrap();
    assert_eq!(with_https.warnings(), [""; 0]);
}

#[test]
fn what_the_environment_holds_is_warned_of_without_its_values() {
    let environment = [
        ("CLAIMGATE_JWKS_COOLDOWN", "sesame"),
        ("HTTPS_PROXY", "http://user:sesame@proxy"),
        ("ALL_PROXY", ""),
        // What Kubernetes sets for a Service named `claimgate`.
        ("CLAIMGATE_PORT", "tcp://10.0.0.1:80"),
        ("CLAIMGATE_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("CLAIMGATE_SERVICE_HOST", "10.0.0.1"),
        ("CLAIMGATE_SERVICE_PORT_HTTP", "80"),
        ("CLAIMGATE_LEEWAY", "30s"),
    ];
    let warnings = resolve_in(&environment, &[&GOOD[..], &["--audience", "a"]].concat()).unwrap().warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("HTTPS_PROXY is set") && warnings[1].starts_with("CLAIMGATE_JWKS_COOLDOWN is set"));
    assert!(!warnings.concat().contains("sesame"), "{warnings:?}");
}

#[test]
fn switches_in_variables_are_read_as_people_write_them() {
    let switch = |argument: &clap::Arg| argument.is_require_equals_set();
    let command = Flags::command();
    let switches: Vec<_> = command.get_arguments().filter(|argument| switch(argument)).collect();
    assert_eq!(switches.len(), 3);
    for argument in switches {
        let parser = argument.get_value_parser();
        assert!(
            parser.possible_values().is_some_and(|mut words| words.any(|word| word.matches("1", true))),
            "{:?}",
            argument.get_long()
        );
    }
}

#[test]
fn listeners_are_ports_paths_and_descriptors() {
    let path = |length: usize| format!("unix:/{}", "a".repeat(length - 1));
    for (given, expected) in [
        ("[::]:4180", "[::]:4180"),
        (":4180", "0.0.0.0:4180"),
        ("unix:/run/gate.sock", "unix:/run/gate.sock"),
        ("unix:///run/gate.sock", "unix:///run/gate.sock"),
        ("fd:3", "fd:3"),
        ("fd://4", "fd:4"),
        (&path(103), &path(103)),
    ] {
        assert_eq!(with("--listen", given).unwrap().server.listen.to_string(), expected);
    }
    let told = with("--listen", &path(104)).map(|config| config.summary()).unwrap_err();
    assert!(told.contains("104 bytes, and 103 are the most"), "{told}");
    let proxies = with("--trusted-proxy", "unix,::1").unwrap().forward.trusted_proxies;
    assert_eq!(proxies.to_string(), "::1/128,unix");
}

#[test]
fn nothing_of_tls_stands_alone() {
    for (flag, value, fix) in [
        ("--tls-min-version", "1.1", "it must be 1.2 or 1.3"),
        ("--tls-reload-interval", "0s", "from 10ms to 1day"),
        ("--tls-client-ca-file", "/nonexistent", "give --tls-cert-file too"),
        ("--tls-key-file", "/nonexistent", "give --tls-cert-file too"),
        ("--tls-cert-file", "/nonexistent", "give --tls-key-file too"),
    ] {
        let told = with(flag, value).map(|config| config.summary()).unwrap_err();
        assert!(told.contains(fix), "{flag}: {told}");
    }
}
