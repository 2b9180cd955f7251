//! The gate in process.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use claimgate::app::App;
use claimgate::cli::Flags;
use claimgate::clock::Clock;
use claimgate::config::Config;
use clap::Parser;

use super::client;
use super::server::Server;
use super::{Issuer, Origin, eventually};

/// A gate. Dropping it stops it and raises its panics; a test that fails prints its access log.
#[derive(Debug)]
pub(crate) struct Gate {
    addr: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    health: Option<SocketAddr>,
    server: Option<Server>,
    access_log: Lines,
}

/// What was written, shared by all clones.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Gate {
    /// In front of this origin, with this issuer and these flags beside.
    pub(crate) fn start(issuer: &Issuer, origin: &Origin, flags: &[&str]) -> Self {
        Self::start_at(Clock::system(), issuer, origin, flags)
    }

    /// In front of an origin at this URL.
    pub(crate) fn start_before(issuer: &Issuer, upstream: &str, flags: &[&str]) -> Self {
        Self::start_with(Clock::system(), issuer, upstream, flags)
    }

    /// With a clock of its own.
    pub(crate) fn start_at(clock: Clock, issuer: &Issuer, origin: &Origin, flags: &[&str]) -> Self {
        Self::start_with(clock, issuer, &origin.url(), flags)
    }

    fn start_with(clock: Clock, issuer: &Issuer, upstream: &str, flags: &[&str]) -> Self {
        let issuer = issuer.url();
        let usual = [
            ("--listen", "127.0.0.1:0"),
            ("--admin-listen", "127.0.0.1:0"),
            ("--issuer", &*issuer),
            ("--upstream", upstream),
            ("--workers", "2"),
            // A test that has seen enough does not wait for what is still in flight.
            ("--shutdown-grace-period", "1s"),
        ];
        let mut arguments = vec!["claimgate"];
        for (flag, value) in usual {
            if !flags.contains(&flag) {
                arguments.extend([flag, value]);
            }
        }
        arguments.extend(flags);
        let flags = Flags::try_parse_from(&arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        let config = Config::resolve(&flags).unwrap_or_else(|errors| panic!("{arguments:?}: {errors}"));
        Self::bind(config, clock)
    }

    fn bind(config: Config, clock: Clock) -> Self {
        let (addresses, bound) = std::sync::mpsc::channel();
        let access_log = Lines::default();
        let output = access_log.clone();
        let server = Server::spawn("gate", async move |stopped| {
            let app = App::bind(config, clock).unwrap().with_access_log(output);
            addresses.send((app.addr().ok(), app.admin_addr(), app.health_addr())).unwrap();
            let shutdown = async move { drop(stopped.await) };
            app.run(shutdown).await.unwrap();
        });
        let (addr, admin, health) = bound.recv().expect("a gate that listens");
        Self { addr, admin, health, server: Some(server), access_log }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr.expect("no unix socket")
    }

    pub(crate) fn admin_addr(&self) -> SocketAddr {
        self.admin.expect("an admin listener")
    }

    pub(crate) fn health_addr(&self) -> SocketAddr {
        self.health.expect("a health listener")
    }

    pub(crate) fn has_no_health_listener(&self) -> bool {
        self.health.is_none()
    }

    /// The first line of the access log that has this text, when it is there.
    pub(crate) async fn logged(&self, text: &str) -> String {
        let find = || {
            let log = String::from_utf8(self.access_log.0.lock().unwrap().clone()).unwrap();
            log.lines().find(|line| line.contains(text)).map(str::to_owned)
        };
        eventually(&format!("{text} in the access log"), async || find().is_some()).await;
        find().unwrap()
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn is_ready(&self) {
        let admin = self.admin_addr();
        eventually("the gate is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
    }
}

impl Drop for Gate {
    #[expect(clippy::print_stdout, reason = "the reader of a failed test wants to see what the gate logged")]
    fn drop(&mut self) {
        // The log is complete once the gate has stopped.
        drop(self.server.take());
        if std::thread::panicking() {
            print!("{}", String::from_utf8_lossy(&self.access_log.0.lock().unwrap()));
        }
    }
}
