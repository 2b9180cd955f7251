//! Any flags, one a line: settings or mistakes, never a panic; what is shown of settings is one line.
#![no_main]

use claimgate::cli::Flags;
use claimgate::config::Config;
use clap::Parser;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Files and directories of this machine are not to be opened because of chance.
    let flags = text.lines().filter(|line| !line.contains("file") && !line.contains("dir"));
    let usual = ["claimgate", "--upstream=http://127.0.0.1:1", "--issuer=https://issuer.example.com"];
    let Ok(flags) = Flags::try_parse_from(usual.into_iter().chain(flags)) else { return };
    match Config::resolve(&flags) {
        Ok(config) => {
            assert!(!config.summary().contains('\n'));
            config.warnings();
        }
        Err(mistakes) => assert!(!mistakes.to_string().is_empty()),
    }
});
