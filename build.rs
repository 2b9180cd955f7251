//! Lays out the program: what a gate at rest runs lies together, by `layout.ld`.
//!
//! The kernel maps code in pieces of 64 KiB around what runs. Strewn over the whole program, the tenth part of it that
//! ever runs takes three quarters of it into resident memory.
#![allow(clippy::print_stdout)] // read by Cargo

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=layout.ld");
    let told = |name: &str| env::var(name).unwrap_or_default();
    let is_release_for_linux = told("PROFILE") == "release" && told("CARGO_CFG_TARGET_OS") == "linux";
    // GNU ld and LLD, one of which Rust takes, read it alike. A linker that somebody chose may be another.
    let is_linker = |flag: &str| flag.trim_start_matches("-C").starts_with("linker") || flag.contains("fuse-ld");
    let is_chosen = !told("RUSTC_LINKER").is_empty() || told("CARGO_ENCODED_RUSTFLAGS").split('\u{1f}').any(is_linker);
    if is_release_for_linux && !is_chosen {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}/layout.ld", told("CARGO_MANIFEST_DIR"));
    }
}
