//! What is said of every flag comes from the flags themselves; the rest of the page is `sections.roff`.

use std::io;

use claimgate::cli::Flags;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

const SECTIONS: &str = include_str!("sections.roff");
const NAME: &str = "claimgate";

/// Every file, by its path. The pages show when the release was.
pub(crate) fn all(date: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let commands = commands();
    let mut files = vec![(format!("man/{NAME}.1"), page(&commands, date)?)];
    for command in commands.get_subcommands() {
        let man = man(command, date);
        let mut text = Vec::new();
        man.render(&mut text)?;
        files.push((format!("man/{}", man.get_filename()), embolden(&text)));
    }
    for (shell, name) in [(Shell::Bash, "claimgate"), (Shell::Zsh, "_claimgate"), (Shell::Fish, "claimgate.fish")] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Flags::command(), NAME, &mut text);
        files.push((format!("completions/{name}"), text));
    }
    Ok(files)
}

/// In a man page the variable stands beside each flag; in `--help` one sentence is enough.
fn commands() -> Command {
    let mut commands = Flags::command().mut_args(|argument| argument.hide_env(false)).disable_help_subcommand(true);
    commands.build();
    commands.mut_subcommands(|command| {
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        command.override_usage(usage)
    })
}

fn man(command: &Command, date: &str) -> Man {
    let source = format!("{NAME} {}", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).date(date).source(source).manual("User Commands")
}

fn page(command: &Command, date: &str) -> io::Result<Vec<u8>> {
    let man = man(command, date);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    let (description, rest) = SECTIONS.split_once(".SH ENVIRONMENT").unwrap_or((SECTIONS, ""));
    page.extend_from_slice(description.as_bytes());
    let mut options = Vec::new();
    man.render_options_section(&mut options)?;
    // The headings of `--help` are parts of one section here.
    let options =
        String::from_utf8_lossy(&options).replace("\n.SH ", "\n.SS ").replace("\n.SS OPTIONS", "\n.SH OPTIONS");
    page.extend_from_slice(&embolden(options.as_bytes()));
    man.render_subcommands_section(&mut page)?;
    page.extend_from_slice(format!(".SH ENVIRONMENT{rest}").as_bytes());
    Ok(page)
}

/// What stands between backticks, which are for the readers of `--help`.
fn embolden(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let parts = text.split('`').enumerate();
    parts
        .map(|(index, part)| if index % 2 == 1 { format!("\\fB{part}\\fR") } else { part.to_owned() })
        .collect::<String>()
        .into_bytes()
}
