//! The container that is added: the gate as it stands in a pod.

use std::net::SocketAddr;

use clap::{CommandFactory, FromArgMatches};

use super::InjectError;
use super::document::Node;
use crate::cli::{Flags, InjectFlags};
use crate::config::Config;
use crate::config::lists::parts;
use crate::server::Listen;

/// The name of the container and of its port.
pub(super) const NAME: &str = "claimgate";
const HEALTH_LISTEN: &str = "0.0.0.0:9181";
const DRAIN_DELAY: &str = "5s";
/// With the drain delay it stays within the 30 s that a pod has by default.
const GRACE_PERIOD: &str = "20s";
/// What the origin lives on beyond the drain delay, in seconds.
const MARGIN: u64 = 2;

/// How the origin is kept alive until the gate has drained.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PreStop {
    /// By the kubelet: Kubernetes 1.30 and newer.
    Sleep,
    /// By the program `sleep` in the origin's image.
    Exec,
    /// Not by us.
    None,
}

/// The gate of one workload, but for what its origin adds.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) image: String,
    /// A native sidecar starts before the origin and ends after it.
    pub(super) is_native: bool,
    pub(super) pre_stop: PreStop,
    /// Whether one was asked for.
    pub(super) upstream: Option<String>,
    /// In seconds.
    pub(super) stop_delay: u64,
    pub(super) port: u16,
    pub(super) health_port: u16,
    admin_port: Option<u16>,
    arguments: Vec<String>,
}

impl Gate {
    /// The flags of the gate are checked as it would check them itself.
    pub(super) fn new(flags: &InjectFlags) -> Result<Self, InjectError> {
        let arguments = arguments(flags);
        let example = flags.upstream.clone().unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
        let config = resolved([vec![format!("--upstream={example}")], arguments.clone()].concat())?;
        let (Some(health), Listen::Tcp(listen)) = (config.health_listen, &config.server.listen) else {
            return Err(InjectError::NoPort);
        };
        let is_native = !flags.plain;
        let pre_stop = match (flags.pre_stop.as_deref(), is_native) {
            (Some("sleep"), _) | (None, true) => PreStop::Sleep,
            (Some("exec"), _) | (None, false) => PreStop::Exec,
            (Some("none"), _) => PreStop::None,
            (Some(other), _) => return Err(InjectError::PreStop(other.to_owned())),
        };
        let default_image = || format!("claimgate:{}", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            image: flags.image.clone().unwrap_or_else(default_image),
            is_native,
            pre_stop,
            upstream: flags.upstream.clone(),
            // A part of a second counts as a whole one.
            stop_delay: config.server.drain_delay.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX - MARGIN)
                + MARGIN,
            port: listen.port(),
            health_port: health.port(),
            admin_port: config.admin_listen.as_ref().map(SocketAddr::port),
            arguments,
        })
    }

    /// The ports that nobody else in the pod can have.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        [self.port, self.health_port].into_iter().chain(self.admin_port)
    }

    /// Files that its flags name, and that somebody has to mount.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().map(String::as_str).filter(|argument| names_a_file(argument))
    }

    /// In front of this upstream, with these checks of it.
    pub(super) fn container(&self, upstream: &str, checks: &[String]) -> Node {
        let checks = checks.iter().map(|check| format!("--origin-health-check={check}"));
        let arguments =
            [format!("--upstream={upstream}")].into_iter().chain(self.arguments.iter().cloned()).chain(checks);
        let arguments = arguments.map(|argument| Node::text(for_kubernetes(&argument))).collect();
        let port = |name: &str, port: u16| Node::from([("name", name.into()), ("containerPort", port.into())]);
        let probe = |path: &str, timing: [(&str, Node); 2]| {
            let [first, second] = timing;
            Node::from([("httpGet", http_get(path, self.health_port)), first, second])
        };
        let restart = self.is_native.then(|| ("restartPolicy".to_owned(), Node::text("Always")));
        let rest = Node::from([
            ("args", Node::List(arguments)),
            ("ports", Node::List(vec![port(NAME, self.port), port("gate-health", self.health_port)])),
            // As soon as it answers, so that an origin after it does not wait for an issuer that is down.
            ("startupProbe", probe("/livez", [("periodSeconds", 1.into()), ("failureThreshold", 30.into())])),
            ("livenessProbe", probe("/livez", [("periodSeconds", 10.into()), ("failureThreshold", 3.into())])),
            ("readinessProbe", probe("/readyz", [("periodSeconds", 2.into()), ("failureThreshold", 2.into())])),
            ("securityContext", security_context()),
            ("resources", resources()),
        ]);
        let head = Node::from([("name", NAME.into()), ("image", Node::text(&self.image))]);
        let members = [head, Node::Map(restart.into_iter().collect()), rest];
        Node::Map(members.into_iter().filter_map(|node| node.as_map().cloned()).flatten().collect())
    }
}

pub(super) fn http_get(path: &str, port: u16) -> Node {
    Node::from([("path", path.into()), ("port", port.into())])
}

fn security_context() -> Node {
    Node::from([
        ("runAsNonRoot", Node::Bool(true)),
        ("runAsUser", 65532.into()),
        ("runAsGroup", 65532.into()),
        ("readOnlyRootFilesystem", Node::Bool(true)),
        ("allowPrivilegeEscalation", Node::Bool(false)),
        ("capabilities", Node::from([("drop", Node::List(vec!["ALL".into()]))])),
        ("seccompProfile", Node::from([("type", "RuntimeDefault".into())])),
    ])
}

/// No limit of CPU: throttled, it would delay every request.
fn resources() -> Node {
    Node::from([
        ("requests", Node::from([("cpu", "10m".into()), ("memory", "16Mi".into())])),
        ("limits", Node::from([("memory", "256Mi".into())])),
    ])
}

fn arguments(flags: &InjectFlags) -> Vec<String> {
    let named = |name: &'static str, values: &[String]| {
        let parts = parts(values);
        // Given once, it would be split again.
        let times = if parts.len() == 1 && values.len() > 1 { 2 } else { 1 };
        let flags = parts.into_iter().map(move |value| format!("--{name}={value}"));
        flags.flat_map(|flag| std::iter::repeat_n(flag, times)).collect::<Vec<_>>()
    };
    let given = joined(&flags.gate_flags);
    let is_given = |name: &str| given.iter().any(|flag| name_of(flag) == name);
    let defaults =
        [("health-listen", HEALTH_LISTEN), ("drain-delay", DRAIN_DELAY), ("shutdown-grace-period", GRACE_PERIOD)];
    let defaults = defaults.into_iter().filter(|(name, _)| !is_given(name));
    let defaults: Vec<_> = defaults.map(|(name, value)| format!("--{name}={value}")).collect();
    [named("issuer", &flags.issuer), named("audience", &flags.audience), defaults, given].concat()
}

/// `--flag value` as `--flag=value`.
fn joined(flags: &[String]) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for word in flags {
        match joined.last_mut() {
            Some(flag) if flag.starts_with("--") && !flag.contains('=') && !word.starts_with("--") => {
                flag.push('=');
                flag.push_str(word);
            }
            _ => joined.push(word.clone()),
        }
    }
    joined
}

fn name_of(argument: &str) -> &str {
    argument.trim_start_matches("--").split('=').next().unwrap_or_default()
}

fn names_a_file(argument: &str) -> bool {
    name_of(argument).ends_with("-file") || name_of(argument).ends_with("-dir")
}

/// Files and variables are in the pod, not here: neither is read, and what belongs together is checked all the same.
fn resolved(arguments: Vec<String>) -> Result<Config, InjectError> {
    let command = Flags::command().mut_args(|argument| argument.env(None::<&'static str>));
    let matches = command.try_get_matches_from(["claimgate".to_owned()].into_iter().chain(arguments));
    let flags = matches.and_then(|matches| Flags::from_arg_matches(&matches));
    let flags = flags.map_err(|error| InjectError::GateFlags(first_line(&error.to_string())))?;
    Config::resolve_for_elsewhere(&flags).map_err(|mistakes| InjectError::GateFlags(format!("\n{mistakes}")))
}

/// What is wrong, without the usage of the gate, which is not that of `inject`.
fn first_line(error: &str) -> String {
    error.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// `$(NAME)` would be a variable's value, and `$$(` stands for the text `$(`.
fn for_kubernetes(argument: &str) -> String {
    argument.replace("$(", "$$(")
}
