//! Services: from the origin's port to the gate's.

use super::document::{Map, Node};
use super::probes::OriginPort;
use super::{ORIGINAL, annotate, take_annotation};

/// What a workload's pods look like to a Service.
#[derive(Debug)]
pub(super) struct Pods {
    pub(super) namespace: Option<String>,
    pub(super) labels: Map,
    pub(super) origin: OriginPort,
    pub(super) gate_port: u16,
    /// What is in front of the origin, or in another container: no way around the gate.
    pub(super) other_ports: Vec<OriginPort>,
    /// The workload, for people.
    pub(super) name: String,
}

/// Whether a document is a Service.
pub(super) fn is_service(document: &Node) -> bool {
    document.str_at(&["kind"]) == Some("Service") && document.str_at(&["apiVersion"]) == Some("v1")
}

/// Whether a Service sends its requests to these pods.
pub(super) fn selects(service: &Node, pods: &Pods) -> bool {
    let Some(selector) = service.at(&["spec", "selector"]).and_then(Node::as_map) else { return false };
    let namespace = service.str_at(&["metadata", "namespace"]);
    !selector.is_empty()
        && namespace == pods.namespace.as_deref()
        && selector.iter().all(|(name, value)| pods.labels.get(name) == Some(value))
}

/// Moves the Service's ports that lead to the origin; whether there were any.
pub(super) fn move_to_gate(service: &mut Node, pods: &Pods) -> bool {
    let mut originals = Map::new();
    for port in service.items_mut(&["spec", "ports"]) {
        let number = port.at(&["port"]).cloned().unwrap_or(Node::Null);
        let target = port.at(&["targetPort"]).cloned();
        // The gate takes TCP alone.
        if !is_tcp(port) || !pods.origin.is(target.as_ref().unwrap_or(&number)) {
            continue;
        }
        if let Some(members) = port.as_map_mut() {
            // The number, not the name: older clusters do not look for names in native sidecars.
            members.insert("targetPort".to_owned(), pods.gate_port.into());
            originals.insert(key(&number, members), target.unwrap_or(Node::Null));
        }
    }
    let has_moved = !originals.is_empty();
    if has_moved {
        annotate(service, &Node::Map(originals));
    }
    has_moved
}

/// What still leads around the gate once [`move_to_gate`] is done.
pub(super) fn ways_around(service: &Node, pods: &Pods) -> Vec<String> {
    let around = |port: &Node| {
        let number = port.at(&["port"])?;
        let target = port.at(&["targetPort"]).unwrap_or(number);
        let is_known =
            target.as_port() == Some(pods.gate_port) || pods.other_ports.iter().any(|other| other.is(target));
        if is_tcp(port) && is_known {
            return None;
        }
        let protocol = port.str_at(&["protocol"]).unwrap_or("TCP");
        let target = target.as_str().map_or_else(|| target.to_line(), str::to_owned);
        Some(format!(
            "its port {} leads to port {target} ({protocol}) of {} around the gate, and requests there need no token; \
             take it out of this Service, or protect it with a gate of its own",
            number.to_line(),
            pods.name
        ))
    };
    service.items(&["spec", "ports"]).iter().filter_map(around).collect()
}

fn is_tcp(port: &Node) -> bool {
    port.str_at(&["protocol"]).is_none_or(|protocol| protocol == "TCP")
}

/// Puts back what [`move_to_gate`] changed.
pub(super) fn restore(service: &mut Node) -> bool {
    let Some(Node::Map(originals)) = take_annotation(service, ORIGINAL) else { return false };
    for port in service.items_mut(&["spec", "ports"]) {
        let number = port.at(&["port"]).cloned().unwrap_or(Node::Null);
        // What moved leads to a number.
        let has_moved = port.at(&["targetPort"]).is_some_and(|target| target.as_port().is_some());
        let Some(members) = port.as_map_mut().filter(|_| has_moved) else { continue };
        match originals.get(&key(&number, members)) {
            Some(Node::Null) => drop(members.shift_remove("targetPort")),
            // Whoever may annotate a Service could have written something else there.
            Some(target) if is_port(target) => drop(members.insert("targetPort".to_owned(), target.clone())),
            _ => {}
        }
    }
    true
}

/// A number or a name (`IntOrString`).
fn is_port(target: &Node) -> bool {
    target.as_port().is_some() || target.as_str().is_some()
}

/// A port of a Service is told by its number and protocol.
fn key(number: &Node, port: &Map) -> String {
    let protocol = port.get("protocol").and_then(Node::as_str).unwrap_or("TCP");
    format!("{}/{protocol}", number.to_line())
}

/// What somebody should know about a Service that was moved to pods that had the gate before, or had not.
pub(super) fn notes(service: &Node, pods: &Pods, had_gate: bool) -> Vec<String> {
    let Pods { gate_port, name, .. } = pods;
    if service.str_at(&["spec", "clusterIP"]) == Some("None") {
        let note = "it is headless: its clients connect to the pods themselves, and have to use port";
        return vec![format!("{note} {gate_port}")];
    }
    let gap = format!(
        "it leads to the gate at once, and pods that have none yet refuse its requests; for a move without a gap apply \
         {name} alone first, and both when its rollout is done"
    );
    if had_gate { Vec::new() } else { vec![gap] }
}
