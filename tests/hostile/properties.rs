//! What holds for any input, tried on some that chance picks. `PROPTEST_CASES` makes it more.

use std::borrow::Cow;

use claimgate::cli::Flags;
use claimgate::config::Config;
use claimgate::jose::{AlgorithmSet, CompactJws, JwkSet, VerificationKey};
use clap::Parser;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::support::key::ALGORITHMS;
use crate::support::origin::Received;
use crate::support::{House, Key, Token, client};

/// Few, so that the suite stays quick; the seed is another one each time, and what fails is printed.
fn runner() -> TestRunner {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64);
    TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

// --- tokens

/// One thing that is done to a token.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(Index, char),
    Insert(Index, char),
    Append(char),
    Remove(Index),
    Swap(Index, Index),
    Repeat(Index, Index),
    Cut(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let alphabet: Vec<_> = ('a'..='z').chain('A'..='Z').chain('0'..='9').chain("-_.+/= ~".chars()).collect();
    // What another reader would pass over most of all.
    let passed_over: Vec<_> = "=. +/".chars().collect();
    let (at, letter) = (any::<Index>, prop_oneof![select(alphabet), select(passed_over)]);
    prop_oneof![
        4 => (at(), letter.clone()).prop_map(|(at, letter)| Mutation::Replace(at, letter)),
        2 => (at(), letter.clone()).prop_map(|(at, letter)| Mutation::Insert(at, letter)),
        1 => letter.prop_map(Mutation::Append),
        2 => at().prop_map(Mutation::Remove),
        1 => (at(), at()).prop_map(|(one, other)| Mutation::Swap(one, other)),
        1 => (at(), at()).prop_map(|(one, other)| Mutation::Repeat(one, other)),
        1 => at().prop_map(Mutation::Cut),
    ]
}

impl Mutation {
    fn apply(&self, token: &mut Vec<char>) {
        if token.is_empty() {
            return;
        }
        let len = token.len();
        match self {
            Self::Replace(at, letter) => token[at.index(len)] = *letter,
            Self::Insert(at, letter) => token.insert(at.index(len), *letter),
            Self::Append(letter) => token.push(*letter),
            Self::Remove(at) => drop(token.remove(at.index(len))),
            Self::Swap(one, other) => token.swap(one.index(len), other.index(len)),
            Self::Repeat(one, other) => {
                let (from, to) = (one.index(len).min(other.index(len)), one.index(len).max(other.index(len)));
                token.splice(to..to, token[from..to].to_vec());
            }
            Self::Cut(at) => token.truncate(at.index(len)),
        }
    }
}

fn verification_key(key: &Key) -> VerificationKey {
    let set = json!({"keys": [key.jwk()]}).to_string();
    JwkSet::parse(set.as_bytes(), AlgorithmSet::ALL).unwrap().usable.remove(0)
}

#[test]
fn no_mutation_of_a_valid_token_is_accepted() {
    let signed = ALGORITHMS.map(|alg| {
        let key = Key::new(alg, "key");
        (verification_key(&key), Token::new("https://issuer.example.com", &key).sign())
    });
    let mutations = (select((0..signed.len()).collect::<Vec<_>>()), vec(mutation(), 1..3));
    let is_accepted = |key: &VerificationKey, token: &str| {
        CompactJws::parse(token).and_then(|jws| key.verify(&jws).map(drop)).is_ok()
    };
    for (key, token) in &signed {
        assert!(is_accepted(key, token));
    }
    let mut runner = runner();
    runner
        .run(&mutations, |(which, mutations)| {
            let (key, token) = &signed[which];
            let mut mutated: Vec<_> = token.chars().collect();
            for mutation in &mutations {
                mutation.apply(&mut mutated);
            }
            let mutated: String = mutated.into_iter().collect();
            prop_assert_eq!(is_accepted(key, &mutated), mutated == *token, "{}", mutated);
            Ok(())
        })
        .unwrap();
}

// --- requests

/// A field whose name is nobody's: no name that is known begins with a `q`.
fn field() -> impl Strategy<Value = (String, String)> {
    ("[qQ][A-Za-z0-9!#$%&'*+.^_`|~-]{0,12}", "([!-~]([ -~]{0,20}[!-~])?)?")
}

/// A name that folds to one of ours: its words in any case, with anything between and around them.
fn alias() -> impl Strategy<Value = String> {
    let ours = vec![vec!["x", "jwt", "claims"], vec!["x", "jwt", "sub"], vec!["x", "user"], vec!["x", "jwt"]];
    let mark = "[!#$%&'*+.^_`|~-]{1,3}";
    (select(ours), vec(mark, 4), "[_.-]{0,2}", vec(any::<bool>(), 16)).prop_map(|(words, marks, end, cases)| {
        let mut name = end.clone();
        for (at, (word, mark)) in words.iter().zip(&marks).enumerate() {
            name.push_str(if at == 0 { "" } else { mark });
            name.push_str(word);
        }
        let cased = name.chars().zip(cases.iter().cycle());
        let name: String =
            cased.map(|(letter, upper)| if *upper { letter.to_ascii_uppercase() } else { letter }).collect();
        name + &end
    })
}

fn lines(fields: &[(String, String)]) -> String {
    let lines: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    lines.concat()
}

/// The fields of this beginning as the origin has them, names in lower case: those of one name in their order.
fn fields_of(fields: &[(String, String)]) -> Vec<(String, String)> {
    let nobodys = fields.iter().filter(|(name, _)| name.starts_with(['q', 'Q']));
    let mut fields: Vec<_> = nobodys.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

async fn sent(house: &House, request: &[u8]) -> Received {
    let response = client::exchange(house.gate.addr(), request).await;
    assert_eq!(response.status, 200, "{response:?} to {}", String::from_utf8_lossy(request));
    house.origin.last()
}

#[test]
fn no_alias_of_ours_survives_the_filter() {
    let runtime = runtime();
    let house = runtime.block_on(House::start(&["--claim-header", "sub=X-User"]));
    let token = house.issuer.token().sign();
    runner()
        .run(&(vec(alias(), 1..8), vec(field(), 0..4)), |(aliases, others)| {
            let forged: Vec<_> = aliases.into_iter().map(|name| (name, "forged".to_owned())).collect();
            let fields = lines(&forged) + &lines(&others) + &lines(&forged);
            let first = runtime.block_on(sent(&house, client::request("GET", "/", Some(&token), &fields).as_bytes()));
            prop_assert!(first.headers.iter().all(|(_, value)| value != "forged"), "{}", first.head);
            // Filtered again, it is the same: but for who it went through, nothing is taken out, and nothing comes to it.
            let again = first.headers.iter().filter(|(name, _)| name != "via").cloned().collect::<Vec<_>>();
            let again = format!("GET / HTTP/1.1\r\n{}\r\n", lines(&again));
            let second = runtime.block_on(sent(&house, again.as_bytes()));
            prop_assert_eq!(sorted(&first), sorted(&second));
            Ok(())
        })
        .unwrap();
}

fn sorted(received: &Received) -> Vec<(String, String)> {
    let mut headers = received.headers.clone();
    headers.sort();
    headers
}

/// A body, and the same as chunks.
fn body() -> impl Strategy<Value = (Vec<u8>, Option<Vec<Vec<u8>>>)> {
    let chunks = vec(vec(any::<u8>(), 1..40), 0..4);
    (chunks, any::<bool>()).prop_map(|(chunks, is_chunked)| (chunks.concat(), is_chunked.then_some(chunks)))
}

#[test]
fn what_is_forwarded_parses_to_what_was_received() {
    let runtime = runtime();
    let house = runtime.block_on(House::start(&[]));
    let token = house.issuer.token().sign();
    let target = "/[a-zA-Z0-9/._~!$&'()*+,;=:@%{}|^\\[\\]-]{0,30}(\\?[a-zA-Z0-9/._~?&=%+-]{0,20})?";
    let requests = ("[A-Z]{1,8}", target, vec(field(), 0..8), body());
    runner()
        .run(&requests, |(method, target, fields, (body, chunks))| {
            prop_assume!(!matches!(&*method, "CONNECT" | "TRACE" | "HEAD"));
            let framing = match &chunks {
                Some(_) => "Transfer-Encoding: chunked\r\n".to_owned(),
                None => format!("Content-Length: {}\r\n", body.len()),
            };
            let head = client::request(&method, &target, Some(&token), &(lines(&fields) + &framing));
            let written = chunks.map_or(Cow::Borrowed(&body), |chunks| Cow::Owned(chunked(&chunks)));
            let received = runtime.block_on(sent(&house, &[head.as_bytes(), &written].concat()));
            prop_assert_eq!((&received.method, &received.target), (&method, &target));
            prop_assert_eq!(fields_of(&received.headers), fields_of(&fields));
            prop_assert_eq!((&received.body, received.is_complete), (&body, true));
            prop_assert_eq!(received.header("host"), Some("gate.test"));
            Ok(())
        })
        .unwrap();
}

fn chunked(chunks: &[Vec<u8>]) -> Vec<u8> {
    let chunk = |chunk: &Vec<u8>| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
    [chunks.iter().flat_map(chunk).collect(), b"0\r\n\r\n".to_vec()].concat()
}

// --- settings

/// Flags with values that they may have.
fn flags() -> impl Strategy<Value = Vec<String>> {
    let time = |flag: &'static str| (1_000..60_000_u64).prop_map(move |millis| format!("--{flag}={millis}ms"));
    let seconds = |flag: &'static str| (1..60_u64).prop_map(move |seconds| format!("--{flag}={seconds}s"));
    let size = |flag: &'static str| (8..64_u64).prop_map(move |kib| format!("--{flag}={kib}KiB"));
    let words = |flag: &'static str| {
        vec("[a-z][a-z0-9.:/-]{0,12}", 1..4).prop_map(move |words| format!("--{flag}={}", words.join(",")))
    };
    let one = |flag: &'static str, values: &'static [&'static str]| {
        select(values).prop_map(move |value| format!("--{flag}={value}"))
    };
    let each = prop_oneof![
        time("leeway"),
        seconds("jwks-timeout"),
        time("header-timeout"),
        time("idle-timeout"),
        time("upstream-timeout"),
        time("stream-idle-timeout"),
        time("drain-delay"),
        size("max-header-size"),
        size("max-body-size"),
        size("token-cache-size"),
        size("claims-header-max"),
        words("audience"),
        one("forward-token", &["keep", "strip"]),
        one("claims-format", &["base64url", "json"]),
        one("access-log", &["denied", "all", "off"]),
        one("allowed-alg", &["ES256", "RS256,PS256", "EdDSA", "ES384,ES512"]),
        one("trusted-proxy", &["10.0.0.0/8", "::1,127.0.0.1", "fd00::/8"]),
        one("skip-auth-route", &["/a", "GET=/b,/c/*", "/*"]),
        one("claim-header", &["sub=X-User", "a.b=X-B,https://x/y=X-C"]),
        one("realm", &["orders", "the orders", "a, b"]),
        Just("--skip-auth-preflight".to_owned()),
    ];
    vec(each, 0..8).prop_map(|mut flags| {
        // A flag that is no list may be there once.
        flags.sort();
        flags.dedup_by(|one, other| one.split('=').next() == other.split('=').next());
        flags
    })
}

fn resolve(flags: &[String]) -> Config {
    let usual =
        ["claimgate", "--upstream=http://127.0.0.1:1", "--issuer=https://issuer.example.com", "--log-format=json"];
    let arguments = usual.into_iter().map(str::to_owned).chain(flags.iter().cloned());
    let parsed = Flags::try_parse_from(arguments).unwrap_or_else(|error| panic!("{flags:?}: {error}"));
    Config::resolve(&parsed).unwrap_or_else(|errors| panic!("{flags:?}: {errors}"))
}

/// `key=value` and `key="a value"` as the flags that they are named after.
fn flags_of(summary: &str) -> Vec<String> {
    let mut flags = Vec::new();
    let mut rest = summary;
    while let Some((key, after)) = rest.split_once('=') {
        let mut values = serde_json::Deserializer::from_str(after).into_iter::<String>();
        let (value, len) = match values.next() {
            Some(Ok(value)) if after.starts_with('"') => (value, values.byte_offset()),
            _ => {
                let value = after.split(' ').next().unwrap();
                (value.to_owned(), value.len())
            }
        };
        rest = after[len..].trim_start();
        let flag = key.replace('_', "-");
        match &*value {
            "any" | "none" | "off" | "discovered" | "false" | "built-in" | "" if flag != "access-log" => {}
            "true" => flags.push(format!("--{flag}")),
            _ if value.ends_with(" certificates") || matches!(&*flag, "upstream" | "issuer" | "log-format") => {}
            value => flags.push(format!("--{flag}={value}")),
        }
    }
    flags
}

#[test]
fn the_settings_that_are_shown_are_those_that_made_them() {
    runner()
        .run(&flags(), |flags| {
            let summary = resolve(&flags).summary();
            let again = flags_of(&summary);
            prop_assert_eq!(resolve(&again).summary(), summary, "{:?} as {:?}", flags, again);
            Ok(())
        })
        .unwrap();
}
