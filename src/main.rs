//! Arguments, settings, a gate, an exit code.

use std::io::Write;
use std::process::ExitCode;

use claimgate::app::{App, Ended};
use claimgate::cli::{Command, Flags};
use claimgate::clock::Clock;
use claimgate::command::{demo, healthcheck, inject};
use claimgate::command_line;
use claimgate::config::Config;
use claimgate::telemetry;
use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell shows for a process that SIGTERM ended.
const TERMINATED: u8 = 143;

/// The control plane's runtime; the workers have their own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let flags = match Flags::try_parse_from(command_line::join_negative(std::env::args_os())) {
        Ok(flags) => flags,
        Err(error) => return complain(&error),
    };
    match run(&flags).await {
        Ok(Ended::Clean) => ExitCode::SUCCESS,
        Ok(Ended::Cut) => ExitCode::from(TERMINATED),
        Ok(Ended::Failed) => ExitCode::FAILURE,
        Err((message, code)) => {
            // Before there are settings there is no log.
            let _ = writeln!(std::io::stderr(), "{message}");
            ExitCode::from(code)
        }
    }
}

/// Of a flag that is none, or of the help that was asked for.
fn complain(error: &clap::Error) -> ExitCode {
    // Where it cannot be printed there is nobody to read it.
    let _ = error.print();
    if let Some(hint) = command_line::hint(error) {
        let _ = std::io::stderr().write_all(hint.as_bytes());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

async fn run(flags: &Flags) -> Result<Ended, (String, u8)> {
    let failed = |error: &dyn std::error::Error| (format!("error: {error}"), 1);
    let shutdown = shutdown().map_err(|error| failed(&error))?;
    match &flags.command {
        Some(Command::Demo) => return demo::run(shutdown).await.map_err(|error| failed(&error)),
        Some(Command::Healthcheck(flags)) => {
            return healthcheck::run(flags).await.map(|()| Ended::Clean).map_err(|error| failed(&error));
        }
        Some(Command::Inject(flags)) => {
            let done = inject::run(flags).map(|()| Ended::Clean);
            return done.map_err(|error| (format!("error: {error}"), error.exit_code()));
        }
        None => {}
    }
    let config = Config::resolve(flags).map_err(|mistakes| (mistakes.to_string(), 2))?;
    telemetry::init(&config.telemetry);
    let app = App::bind(config, Clock::system()).map_err(|error| failed(&error))?;
    app.run(shutdown).await.map_err(|error| failed(&error))
}

/// The first SIGTERM or SIGINT; the second one ends the process at once.
fn shutdown() -> std::io::Result<impl Future<Output = ()>> {
    let mut signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        next(&mut signals).await;
        tokio::spawn(async move {
            next(&mut signals).await;
            std::process::exit(i32::from(TERMINATED));
        });
    })
}

async fn next((terminate, interrupt): &mut (Signal, Signal)) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
