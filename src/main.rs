//! Arguments, settings, a gate, an exit code.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use claimgate::app::{App, Ended};
use claimgate::cli::{Command, Flags};
use claimgate::clock::Clock;
use claimgate::command::{demo, healthcheck, inject};
use claimgate::command_line;
use claimgate::config::Config;
use claimgate::telemetry;
use clap::Parser;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// What a shell shows for a process that SIGTERM ended.
const TERMINATED: u8 = 143;

/// Why a process ends early: its exit code, behind what was said of it.
struct Stopped(u8);

/// The runtime of the acceptor and of probes. The workers have their own, and so has what fetches keys.
fn main() -> ExitCode {
    let flags = match Flags::try_parse_from(command_line::join_negative(std::env::args_os())) {
        Ok(flags) => flags,
        Err(error) => return complain(&error),
    };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let Stopped(code) = failed(&error);
            return ExitCode::from(code);
        }
    };
    let ended = runtime.block_on(run(&flags));
    // A look-up of a name can take half a minute, and cannot be stopped.
    runtime.shutdown_background();
    match ended {
        Ok(Ended::Clean) => ExitCode::SUCCESS,
        Ok(Ended::Cut) => ExitCode::from(TERMINATED),
        Ok(Ended::Failed) => ExitCode::FAILURE,
        Err(Stopped(code)) => ExitCode::from(code),
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

async fn run(flags: &Flags) -> Result<Ended, Stopped> {
    let shutdown = shutdown().map_err(|error| failed(&error))?;
    match &flags.command {
        Some(Command::Demo) => demo::run(shutdown).await.map_err(|error| failed(&error)),
        Some(Command::Healthcheck(flags)) => {
            healthcheck::run(flags).await.map(|()| Ended::Clean).map_err(|error| failed(&error))
        }
        Some(Command::Inject(flags)) => inject::run(flags)
            .map(|()| Ended::Clean)
            .map_err(|error| stopped(&format!("error: {error}"), error.exit_code())),
        None => serve(flags, shutdown).await,
    }
}

async fn serve(flags: &Flags, shutdown: impl Future<Output = ()>) -> Result<Ended, Stopped> {
    let config = Config::resolve(flags).map_err(|mistakes| stopped(&mistakes.to_string(), 2))?;
    let diagnostics = telemetry::init(&config.telemetry).map_err(|error| failed(&error))?;
    // Before a port is bound: unheard, it ends the process.
    let hang_ups = signal(SignalKind::hangup()).map_err(|error| failed(&error))?;
    let ended = match App::bind(config, Clock::system()) {
        Ok(app) => {
            tokio::spawn(reload_at(hang_ups, app.reload()));
            app.run(shutdown).await.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    // From here on stderr may be full.
    ended.map_err(|error| {
        diagnostics.say(&format!("error: {error}"));
        Stopped(1)
    })
}

fn failed(error: &dyn std::error::Error) -> Stopped {
    stopped(&format!("error: {error}"), 1)
}

/// Before there are settings there is no log.
fn stopped(message: &str, code: u8) -> Stopped {
    let _ = writeln!(std::io::stderr(), "{message}");
    Stopped(code)
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

/// As other servers, it takes SIGHUP for a wish to read everything again.
async fn reload_at(mut hang_ups: Signal, reload: Arc<Notify>) {
    while hang_ups.recv().await.is_some() {
        reload.notify_one();
    }
}

async fn next((terminate, interrupt): &mut (Signal, Signal)) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
