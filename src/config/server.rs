//! Flags about the listener and its clients.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use super::mistakes::Mistakes;
use super::{DAY, HOUR, KIB, MILLISECOND, MINUTE, SECOND, size, values};
use crate::cli::{Flags, ListenFlags};
use crate::peer::TrustedProxies;
use crate::server::{self, Listen, Tls, TlsFile, TlsSettings, TlsVersion};

pub(super) fn settings(
    flags: &Flags,
    trusted_proxies: &TrustedProxies,
    stream_idle_timeout: Duration,
    mistakes: &Mistakes<'_>,
) -> server::Settings {
    let (listen, limits) = (&flags.listen, &flags.limits);
    let parallelism = available_parallelism().map_or(1, NonZeroUsize::get).min(4);
    let workers = mistakes.number("workers", listen.workers.as_ref(), parallelism, 1..=64);
    let everywhere = Listen::Tcp((Ipv4Addr::UNSPECIFIED, 4180).into());
    let max_header_size = limits.max_header_size.as_ref();
    let duration =
        |flag, value: &Option<String>, default, range| mistakes.duration(flag, value.as_ref(), default, range);
    server::Settings {
        listen: mistakes.or_default("listen", listen.listen.as_ref(), everywhere, values::listen),
        tls: tls(listen, mistakes),
        proxy_protocol: proxy_protocol(flags, trusted_proxies, mistakes),
        workers: NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN),
        max_connections: mistakes.number("max-connections", listen.max_connections.as_ref(), 10_000, 1..=1_000_000),
        header_timeout: duration("header-timeout", &limits.header_timeout, 10 * SECOND, 10 * MILLISECOND..=10 * MINUTE),
        idle_timeout: duration("idle-timeout", &limits.idle_timeout, 75 * SECOND, 10 * MILLISECOND..=DAY),
        stream_idle_timeout,
        max_header_size: size(max_header_size, "max-header-size", 64 * KIB, 8 * KIB..=1024 * KIB, mistakes),
        drain_delay: duration("drain-delay", &listen.drain_delay, Duration::ZERO, Duration::ZERO..=HOUR),
        shutdown_grace_period: duration(
            "shutdown-grace-period",
            &listen.shutdown_grace_period,
            25 * SECOND,
            Duration::ZERO..=DAY,
        ),
    }
}

/// For forwarding headers and the PROXY protocol.
pub(super) fn trusted_proxies(flags: &Flags, mistakes: &Mistakes<'_>) -> TrustedProxies {
    let mut proxies = TrustedProxies::default();
    for text in &flags.origin.trusted_proxy {
        match mistakes.read("trusted-proxy", text, values::trusted_proxy) {
            Some(Some(network)) => proxies.networks.push(network),
            Some(None) => proxies.unix = true,
            None => {}
        }
    }
    proxies
}

fn proxy_protocol(flags: &Flags, trusted: &TrustedProxies, mistakes: &Mistakes<'_>) -> Option<TrustedProxies> {
    if flags.listen.proxy_protocol && flags.origin.trusted_proxy.is_empty() {
        mistakes.note(
            "proxy-protocol",
            "anybody could claim any address; say whose header is believed, such as --trusted-proxy 10.0.0.0/8",
        );
    }
    flags.listen.proxy_protocol.then(|| trusted.clone())
}

/// Names of oauth2-proxy and Kubernetes are understood, too.
const TLS_VERSIONS: [(&str, TlsVersion); 6] = [
    ("1.2", TlsVersion::Tls12),
    ("1.3", TlsVersion::Tls13),
    ("TLS1.2", TlsVersion::Tls12),
    ("TLS1.3", TlsVersion::Tls13),
    ("VersionTLS12", TlsVersion::Tls12),
    ("VersionTLS13", TlsVersion::Tls13),
];

/// The files are read here, so that what is wrong with them is told with everything else that is wrong.
fn tls(flags: &ListenFlags, mistakes: &Mistakes<'_>) -> Option<Arc<Tls>> {
    let min_version =
        mistakes.word("tls-min-version", flags.tls_min_version.as_ref(), TlsVersion::Tls12, &TLS_VERSIONS);
    let reload_interval = flags.tls_reload_interval.as_ref();
    let reload_interval = mistakes.duration("tls-reload-interval", reload_interval, 5 * SECOND, 10 * MILLISECOND..=DAY);
    let Some(cert) = &flags.tls_cert_file else {
        // Whoever gives one of these means TLS, and must not get HTTP in the clear.
        for (flag, value) in [
            ("tls-key-file", &flags.tls_key_file),
            ("tls-min-version", &flags.tls_min_version),
            ("tls-client-ca-file", &flags.tls_client_ca_file),
            ("tls-reload-interval", &flags.tls_reload_interval),
        ] {
            if value.is_some() {
                mistakes.note(flag, "without a certificate there is no TLS; give --tls-cert-file too");
            }
        }
        return None;
    };
    let Some(key) = &flags.tls_key_file else {
        mistakes.note("tls-cert-file", "a certificate needs its key; give --tls-key-file too");
        return None;
    };
    let path = |flag, value| mistakes.read(flag, value, |path| Ok::<_, String>(PathBuf::from(path)));
    let client_ca_file = flags.tls_client_ca_file.as_ref().map(|value| path("tls-client-ca-file", value));
    let settings = TlsSettings {
        cert_file: path("tls-cert-file", cert)?,
        key_file: path("tls-key-file", key)?,
        // An empty value is a mistake, and no reason to let everybody in.
        client_ca_file: client_ca_file.map_or(Some(None), |path| path.map(Some))?,
        min_version,
        reload_interval,
    };
    if !mistakes.has_files() {
        return None;
    }
    let client_ca = flags.tls_client_ca_file.as_deref().unwrap_or_default();
    let unusable = match Tls::load(settings) {
        Ok(tls) => return Some(Arc::new(tls)),
        Err(unusable) => unusable,
    };
    for one in unusable {
        let (flag, value) = match one.file {
            TlsFile::Cert => ("tls-cert-file", &**cert),
            TlsFile::Key => ("tls-key-file", &**key),
            TlsFile::ClientCa => ("tls-client-ca-file", client_ca),
        };
        mistakes.read(flag, value, |_| Err::<(), _>(one.problem));
    }
    None
}
