//! Keys that are not public: the issuer answers only those who bring a token, as a Kubernetes API server does.

use std::path::PathBuf;

use serde_json::json;

use crate::support::{Binary, Certificate, Gate, Issuer, Origin, client, eventually};

const FIRST: &str = "eyJhbGciOiJub25lIn0.Zmlyc3Q.c2VjcmV0";
const SECOND: &str = "eyJhbGciOiJub25lIn0.c2Vjb25k.c2VjcmV0";

/// A token file of one test.
struct TokenFile(PathBuf);

impl TokenFile {
    fn new(name: &str, token: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("token-{name}-{}", std::process::id()));
        std::fs::write(&path, format!("{token}\n")).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// As the kubelet does it: the name leads to another file at once.
    fn replace(&self, token: &str) {
        let next = self.0.with_extension("next");
        std::fs::write(&next, token).unwrap();
        std::fs::rename(next, &self.0).unwrap();
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

async fn cause(gate: &Gate) -> String {
    let mut told = String::new();
    eventually("the cause is told", async || {
        told = client::get_local(gate.admin_addr(), "/readyz?verbose").await.text();
        told.contains("last error")
    })
    .await;
    told
}

#[tokio::test]
async fn keys_that_are_not_public_are_fetched_with_the_token_of_the_file() {
    let authority = Certificate::new();
    let (issuer, origin) = (Issuer::start_tls(authority.clone()), Origin::start());
    issuer.answer_only(FIRST);
    let file = TokenFile::new("private", FIRST);
    let flags = ["--jwks-bearer-token-file", file.path(), "--issuer-ca-file", authority.path()];
    let gate = Gate::start(&issuer, &origin, &flags);
    gate.is_ready().await;
    assert_eq!(client::get(gate.addr(), "/", Some(&issuer.token().sign())).await.status, 200);
    assert_eq!(issuer.heard(), [format!("Bearer {FIRST}"), format!("Bearer {FIRST}")], "discovery and keys");
}

#[tokio::test]
async fn a_token_that_was_replaced_is_used_at_the_next_fetch() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    issuer.answer_only(FIRST);
    let file = TokenFile::new("replaced", FIRST);
    let gate = Gate::start(&issuer, &origin, &["--jwks-bearer-token-file", file.path()]);
    gate.is_ready().await;
    file.replace(SECOND);
    issuer.answer_only(SECOND);
    issuer.rotate();
    // An unknown kid causes a fetch.
    assert_eq!(client::get(gate.addr(), "/", Some(&issuer.token().sign())).await.status, 200);
    assert_eq!(issuer.heard().last(), Some(&format!("Bearer {SECOND}")));
}

#[tokio::test]
async fn the_token_goes_to_no_place_that_only_a_document_names() {
    let (issuer, elsewhere, origin) = (Issuer::start(), Issuer::start(), Origin::start());
    elsewhere.answer_only(FIRST);
    issuer.metadata(json!({"issuer": issuer.url(), "jwks_uri": elsewhere.jwks_url()}));
    let file = TokenFile::new("elsewhere", FIRST);
    let gate = Gate::start(&issuer, &origin, &["--jwks-bearer-token-file", file.path()]);
    let cause = cause(&gate).await;
    assert!(cause.contains("status 403 Forbidden: the token in --jwks-bearer-token-file is sent to"), "{cause}");
    assert!(cause.contains("name it with --jwks-url"), "{cause}");
    assert_eq!((issuer.heard().len(), elsewhere.heard().len()), (1, 0));
}

#[tokio::test]
async fn the_token_goes_to_where_jwks_url_says() {
    let (issuer, elsewhere, origin) = (Issuer::start(), Issuer::start(), Origin::start());
    elsewhere.answer_only(FIRST);
    elsewhere.add(&issuer.key());
    let file = TokenFile::new("named", FIRST);
    let keys = elsewhere.jwks_url();
    let gate = Gate::start(&issuer, &origin, &["--jwks-bearer-token-file", file.path(), "--jwks-url", &keys]);
    gate.is_ready().await;
    assert_eq!(client::get(gate.addr(), "/", Some(&issuer.token().sign())).await.status, 200);
}

#[tokio::test]
async fn a_refusal_names_the_flag_that_may_mend_it() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    issuer.answer_only(FIRST);
    let gate = Gate::start(&issuer, &origin, &[]);
    let told = cause(&gate).await;
    assert!(told.contains("status 403 Forbidden: if it is not public, use --jwks-bearer-token-file"), "{told}");
    let file = TokenFile::new("wrong", SECOND);
    let gate = Gate::start(&issuer, &origin, &["--jwks-bearer-token-file", file.path()]);
    let told = cause(&gate).await;
    assert!(told.contains("status 403 Forbidden: the token in --jwks-bearer-token-file does not permit it"), "{told}");
}

#[tokio::test]
async fn a_file_that_is_no_token_any_more_fails_the_fetch_and_is_not_quoted() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let file = TokenFile::new("spoilt", FIRST);
    let flags = ["--issuer", &issuer.url(), "--upstream", &origin.url(), "--jwks-bearer-token-file", file.path()];
    let binary = Binary::start(&[&flags[..], &["--log-level", "trace", "--jwks-refresh-cooldown", "1s"]].concat());
    let addr = binary.addr().await;
    eventually("it has keys", async || client::get(addr, "/", Some(&issuer.token().sign())).await.status == 200).await;
    file.replace("two words");
    issuer.rotate();
    let refused = client::get(addr, "/", Some(&issuer.token().sign())).await;
    assert_eq!((refused.status, refused.denial().reason.as_str()), (503, "keys_unavailable"));
    let lines = || [binary.stderr(), binary.stdout()].concat().join("\n");
    eventually("the cause is logged", async || lines().contains("it holds no bearer token")).await;
    for secret in [FIRST, "c2VjcmV0", "two words"] {
        assert!(!lines().contains(secret), "{secret}: {}", lines());
    }
}

#[tokio::test]
async fn a_token_for_several_issuers_or_in_the_clear_is_a_mistake() {
    let file = TokenFile::new("mistake", FIRST);
    let start = async |issuer: &str| {
        let flags = ["--upstream", "http://127.0.0.1:3000", "--issuer", issuer, "--insecure-issuer"];
        let ended = Binary::run(&[&flags[..], &["--jwks-bearer-token-file", file.path()]].concat(), &[]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        ended.stderr
    };
    let told = start("https://a.example.com,https://b.example.com").await;
    assert!(told.contains("--jwks-bearer-token-file: with several issuers"), "{told}");
    let told = start("http://a.example.com").await;
    assert!(told.contains("sent in the clear; use https:// for http://a.example.com"), "{told}");
}
