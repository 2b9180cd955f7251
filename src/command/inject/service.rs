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
        if !pods.origin.is(target.as_ref().unwrap_or(&number)) {
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

/// Puts back what [`move_to_gate`] changed.
pub(super) fn restore(service: &mut Node) -> bool {
    let Some(Node::Map(originals)) = take_annotation(service, ORIGINAL) else { return false };
    for port in service.items_mut(&["spec", "ports"]) {
        let number = port.at(&["port"]).cloned().unwrap_or(Node::Null);
        let Some(members) = port.as_map_mut() else { continue };
        match originals.get(&key(&number, members)) {
            Some(Node::Null) => drop(members.shift_remove("targetPort")),
            Some(target) => drop(members.insert("targetPort".to_owned(), target.clone())),
            None => {}
        }
    }
    true
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
