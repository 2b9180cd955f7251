//! What verifying a token costs beside the bare signature check, for each algorithm, and with how many keys the issuer
//! has: `cargo bench --bench verify`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on says so by panicking")]
#![expect(clippy::print_stdout, reason = "the table")]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests' support; here only an issuer, keys and tokens")]
mod support;

mod sample;

use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use claimgate::clock::Clock;
use claimgate::issuer::{self, Issuer};
use claimgate::jose::{Algorithm, AlgorithmSet, Claim, CompactJws, JwkSet};
use claimgate::readiness::Readiness;
use serde_json::json;
use tokio::runtime::Runtime;

use self::sample::{median, per_call, ratio};
use self::support::issuer::Discovery;
use self::support::{Key, Token, eventually};

const SAMPLES: usize = 101;
/// So that the token has about 848 bytes with RS256.
const FILLER: usize = 238;

fn main() {
    println!("| algorithm | bare check | with parsing | of it parsing | overhead |");
    println!("|---|---|---|---|---|");
    for algorithm in Algorithm::ALL {
        measure(algorithm);
    }
    println!("\n| keys of the issuer | key found by `kid` | key found and token verified, RS256 | ratio |");
    println!("|---|---|---|---|");
    measure_key_sets();
}

fn measure(algorithm: Algorithm) {
    let key = Key::new(algorithm.name(), "bench-1");
    let token = Token::new("https://issuer.example.com", &key).claim("groups", "g".repeat(FILLER)).sign();
    let set = json!({ "keys": [key.jwk()] }).to_string();
    let set = JwkSet::parse(set.as_bytes(), AlgorithmSet::ALL).unwrap();
    let [verification_key] = set.usable.as_slice() else { panic!("one usable key: {set:?}") };
    let public_key = ParsedPublicKey::new(signature_check(algorithm), key.public_bytes()).unwrap();
    let jws = CompactJws::parse(&token).unwrap();

    let bare = || public_key.verify_sig(black_box(jws.signing_input()), black_box(jws.signature())).unwrap();
    let whole = || verification_key.verify(&CompactJws::parse(black_box(&token)).unwrap()).unwrap().expiration();
    let parse = || CompactJws::parse(black_box(&token)).unwrap();
    let (mut bares, mut wholes, mut parses) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        bares.push(per_call(bare));
        wholes.push(per_call(whole));
        parses.push(per_call(parse));
    }
    let overhead = (ratio(&wholes, &bares) - 1.0) * 100.0;
    let micros = |samples: &[f64]| median(samples) * 1e6;
    println!(
        "| {algorithm} | {:.2} µs | {:.2} µs | {:.2} µs | {overhead:.1} % |",
        micros(&bares),
        micros(&wholes),
        micros(&parses)
    );
}

/// How many keys an issuer has.
const KEYS: [usize; 3] = [1, 10, 100];

/// The token's key is the last one.
fn measure_key_sets() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let published: Vec<_> = KEYS.iter().map(|count| Published::start(*count, &runtime)).collect();
    let (mut finds, mut wholes) = ([const { Vec::new() }; KEYS.len()], [const { Vec::new() }; KEYS.len()]);
    for _ in 0..SAMPLES {
        for (at, published) in published.iter().enumerate() {
            let jws = CompactJws::parse(&published.token).unwrap();
            finds[at].push(per_call(|| published.find(&jws, &runtime)));
            wholes[at].push(per_call(|| published.verify(&runtime)));
        }
    }
    for (count, (find, whole)) in KEYS.iter().zip(finds.iter().zip(&wholes)) {
        let (find_nanos, whole_micros) = (median(find) * 1e9, median(whole) * 1e6);
        println!("| {count} | {find_nanos:.0} ns | {whole_micros:.2} µs | {:.2} |", ratio(whole, &wholes[0]));
    }
}

/// An issuer with so many keys, and what the gate's half has fetched of it.
struct Published {
    _server: support::Issuer,
    issuer: Arc<Issuer>,
    token: String,
}

impl Published {
    fn start(count: usize, runtime: &Runtime) -> Self {
        let server = support::Issuer::start_with(Discovery::JwksOnly, "");
        server.retire("key-0");
        let keys: Vec<_> = (1..=count).map(|number| Key::new("RS256", &format!("bench-{number}"))).collect();
        for key in &keys {
            server.add(key);
        }
        let token = server.token_by(keys.last().unwrap()).claim("groups", "g".repeat(FILLER)).sign();
        let (issuer, refresher) = Issuer::new(issuer::Settings::new(server.url()), Clock::system()).unwrap();
        let readiness = Readiness::new();
        let latch = readiness.latch();
        runtime.spawn(refresher.run(latch));
        runtime.block_on(eventually("the keys are there", async || issuer.keys().is_some()));
        assert_eq!(issuer.status().keys.len(), count);
        Self { _server: server, issuer, token }
    }

    fn find(&self, jws: &CompactJws<'_>, runtime: &Runtime) -> issuer::Candidates {
        runtime.block_on(self.issuer.key(black_box(jws.header()))).unwrap()
    }

    fn verify(&self, runtime: &Runtime) -> Claim<f64> {
        let jws = CompactJws::parse(black_box(&self.token)).unwrap();
        self.find(&jws, runtime).iter().next().unwrap().verify(&jws).unwrap().expiration()
    }
}

fn signature_check(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        Algorithm::EdDsa | Algorithm::Ed25519 => &signature::ED25519,
    }
}
