//! Any bytes as a connection's first message: what passes the strict reader, another one reads too, and of what is
//! forwarded nothing speaks for the gate.
#![no_main]

use std::sync::LazyLock;

use claimgate::cli::Flags;
use claimgate::config::Config;
use claimgate::forward::fuzzing::forward;
use claimgate::policy::{Permit, Policy, Rule};
use claimgate::server::fuzzing::{Message, read};
use clap::Parser;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let flags = ["claimgate", "--upstream=http://127.0.0.1:1", "--issuer=https://i", "--claim-header=sub=X-User"];
    Config::resolve(&Flags::parse_from(flags)).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let Some((piece, bytes)) = data.split_first() else { return };
    let whole = read(bytes, bytes.len());
    let pieces = read(bytes, usize::from(piece % 16) + 1);
    assert_eq!((whole.refusal.is_some(), whole.is_http2), (pieces.refusal.is_some(), pieces.is_http2));
    if whole.refusal.is_some() || whole.is_http2 {
        return;
    }
    assert_eq!((whole.is_cut, whole.is_whole, &whole.body), (pieces.is_cut, pieces.is_whole, &pieces.body));
    assert_eq!(whole.trailers, pieces.trailers);
    let Message { head: Some(head), .. } = whole else { return };
    compare(&head, &pieces.head.expect("it came in pieces"));
    compare(&head, &read_otherwise(bytes).expect("another reader reads it"));
    let permit = Policy::new(CONFIG.policy.clone()).authorize(Rule::Public, None).unwrap();
    let Ok(forwarded) = forward(&CONFIG.forward, &head, &permit) else { return };
    judge(&head, &forwarded);
    forward_again(forwarded, &permit);
});

fn compare(one: &Parts, other: &Parts) {
    assert_eq!((&one.method, &one.uri, &one.headers), (&other.method, &other.uri, &other.headers));
}

/// By a parser that others use.
fn read_otherwise(bytes: &[u8]) -> Option<Parts> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut fields);
    assert!(parsed.parse(bytes).ok()?.is_complete());
    let mut request = Request::builder().method(parsed.method?).uri(parsed.path?).body(()).ok()?;
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(request.into_parts().0)
}

fn judge(head: &Parts, forwarded: &Parts) {
    assert_eq!(head.method, forwarded.method);
    // As they are written: an absolute form may have a query and no path.
    let target = |parts: &Parts| parts.uri.path_and_query().map(ToString::to_string);
    assert_eq!(target(head), target(forwarded));
    assert!(forwarded.uri.authority().is_none());
    let all = |name: &str| forwarded.headers.get_all(name).iter().count();
    assert_eq!(all("host"), 1);
    assert!(all("content-length") + all("transfer-encoding") <= 1);
    for name in forwarded.headers.keys() {
        let folded = fold(name.as_str());
        let is_ours = folded == "x-user" || folded == "x-jwt" || folded.starts_with("x-jwt-");
        assert!(!is_ours, "{name}");
        assert!(!matches!(&*folded, "keep-alive" | "proxy-connection" | "upgrade" | "expect" | "proxy"), "{name}");
    }
}

/// In other words than those that are tested: each character by itself, then the words.
fn fold(name: &str) -> String {
    let spaced: String = name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { ' ' }).collect();
    spaced.to_ascii_lowercase().split_whitespace().collect::<Vec<_>>().join("-")
}

/// What was filtered once is filtered.
fn forward_again(first: Parts, permit: &Permit) {
    let without_via = |headers: &HeaderMap| {
        let mut headers = headers.clone();
        headers.remove("via");
        headers
    };
    let Ok(second) = forward(&CONFIG.forward, &first, permit) else { panic!("refused the second time: {first:?}") };
    assert_eq!(without_via(&second.headers), without_via(&first.headers));
}
