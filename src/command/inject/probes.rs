//! The origin's probes: the kubelet comes from outside, where an origin on loopback does not answer.

use super::document::{Map, Node};
use super::gate::http_get;
use crate::admin::HealthCheck;

pub(super) const PROBES: [&str; 3] = ["startupProbe", "livenessProbe", "readinessProbe"];
/// How a kubelet can ask, and what of it may be said. A `host` is never the gate's to ask.
const ACTIONS: [(&str, &[&str]); 3] =
    [("httpGet", &["path", "port", "scheme", "httpHeaders"]), ("tcpSocket", &["port"]), ("grpc", &["port", "service"])];
/// Where the gate asks the origin in the kubelet's stead.
const ORIGIN_PATH: &str = "/healthz/origin?";

/// The origin's port as probes name it.
#[derive(Clone, Debug)]
pub(super) struct OriginPort {
    pub(super) number: u16,
    /// Within its own container alone.
    pub(super) name: Option<String>,
}

impl OriginPort {
    pub(super) fn is(&self, port: &Node) -> bool {
        port.as_port() == Some(self.number) || port.as_str().is_some_and(|name| self.name.as_deref() == Some(name))
    }
}

/// What became of one container's probes.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    /// The probes as they were, by their names.
    pub(super) originals: Map,
    pub(super) checks: Vec<HealthCheck>,
    pub(super) notes: Vec<String>,
}

/// Sends the probes of a container that ask the origin's port to the gate's health port.
pub(super) fn rewrite(container: &mut Node, origin: &OriginPort, health_port: u16) -> Rewritten {
    let mut rewritten = Rewritten::default();
    for probe in PROBES {
        let Some(found) = container.at_mut(&[probe]) else { continue };
        let original = found.clone();
        let found_action = ACTIONS.into_iter().find(|(action, _)| original.at(&[action]).is_some());
        let Some((action, _)) = found_action else { continue };
        let Some(what) = original.at(&[action]) else { continue };
        if !what.at(&["port"]).is_some_and(|port| origin.is(port)) {
            continue;
        }
        match check(action, what) {
            Ok(check) => {
                let path = format!("{ORIGIN_PATH}{}", check.query());
                replace(found, action, "httpGet", &http_get(&path, health_port));
                if what.at(&["httpHeaders"]).is_some() {
                    rewritten.notes.push(format!("the httpHeaders of its {probe} are not sent any more"));
                }
                rewritten.originals.insert(probe.to_owned(), original);
                if !rewritten.checks.contains(&check) {
                    rewritten.checks.push(check);
                }
            }
            Err(problem) => rewritten.notes.push(format!("its {probe} is left as it is: {problem}")),
        }
    }
    rewritten
}

/// Puts back how the probes that ask the gate asked before; what else is kept of them is not believed.
///
/// Anybody who may annotate an object could write there, so that no more comes back than [`rewrite`] takes away.
pub(super) fn restore(container: &mut Node, originals: &Map) {
    for probe in PROBES {
        let Some(original) = originals.get(probe) else { continue };
        let Some(found) = container.at_mut(&[probe]) else { continue };
        let is_ours = found.str_at(&["httpGet", "path"]).is_some_and(|path| path.starts_with(ORIGIN_PATH));
        if let Some((action, what)) = kept_action(original).filter(|_| is_ours) {
            replace(found, "httpGet", action, &what);
        }
    }
}

/// The one action of a probe that was kept, with the members that [`check`] understands.
fn kept_action(original: &Node) -> Option<(&'static str, Node)> {
    let (action, members) = ACTIONS.into_iter().find(|(action, _)| original.at(&[action]).is_some())?;
    let kept = original.at(&[action])?.as_map()?.clone();
    let known = kept.into_iter().filter(|(name, value)| members.contains(&&**name) && is_of_a_probe(name, value));
    Some((action, Node::Map(known.collect())))
}

/// Whether a member has the type that Kubernetes gives it.
fn is_of_a_probe(name: &str, value: &Node) -> bool {
    match name {
        "port" => value.as_port().is_some() || value.as_str().is_some(),
        "httpHeaders" => matches!(value, Node::List(_)),
        _ => value.as_str().is_some(),
    }
}

fn check(action: &str, what: &Node) -> Result<HealthCheck, String> {
    if what.at(&["host"]).is_some() {
        return Err("it names a host of its own".to_owned());
    }
    match action {
        "httpGet" if what.str_at(&["scheme"]).is_some_and(|scheme| scheme != "HTTP") => {
            Err("the gate asks over http:// alone".to_owned())
        }
        "httpGet" => {
            let path = what.str_at(&["path"]).filter(|path| !path.is_empty()).unwrap_or("/");
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            // Lists of flags are separated by commas.
            let path = path.replace(',', "%2C");
            path.parse().map_err(|error| format!("{path}: {error}"))
        }
        "grpc" => {
            let service = what.str_at(&["service"]).filter(|service| !service.is_empty());
            let text = service.map_or_else(|| "grpc".to_owned(), |service| format!("grpc:{service}"));
            text.parse().map_err(|error| format!("{text}: {error}"))
        }
        _ => Ok(HealthCheck::Tcp),
    }
}

/// Another action in the place of the first.
fn replace(probe: &mut Node, action: &str, other: &str, what: &Node) {
    let Some(members) = probe.as_map_mut() else { return };
    let rename = |(name, value): (String, Node)| {
        if name == action { (other.to_owned(), what.clone()) } else { (name, value) }
    };
    *members = std::mem::take(members).into_iter().map(rename).collect();
}
