//! Man pages and shell completions, as they are packaged: `cargo run --example manual -- DIR [DATE]`. No flag of the gate writes them,
//! so that what runs beside a service does not carry them.

mod pages;

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs, io};

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        complain("usage: manual DIR [DATE]");
        return ExitCode::from(2);
    };
    let date = env::args().nth(2).unwrap_or_else(|| "unreleased".to_owned());
    match pages::all(&date)
        .and_then(|files| files.into_iter().try_for_each(|(path, text)| write(folder.join(path), &text)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn write(path: PathBuf, text: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, text)
}

#[expect(clippy::print_stderr, reason = "there is no log here")]
fn complain(text: &str) {
    eprintln!("{text}");
}
