//! Workloads: which container is the origin, and what is changed around it.

use super::document::{Map, Node};
use super::gate::{Gate, NAME, PreStop};
use super::listening::{Listens, where_it_listens};
use super::probes::{self, OriginPort};
use super::service::Pods;
use super::{InjectError, ORIGINAL, annotate, take_annotation};

const WITH_TEMPLATE: [&str; 4] = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"];
const CONTAINERS: [&str; 2] = ["initContainers", "containers"];
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Where the pod is in a document of this kind.
pub(super) fn pod_path(document: &Node) -> Option<&'static [&'static str]> {
    match (document.str_at(&["kind"])?, document.str_at(&["apiVersion"])?) {
        ("Pod", "v1") => Some(&[]),
        (kind, "apps/v1") if WITH_TEMPLATE.contains(&kind) => Some(&["spec", "template"]),
        _ => None,
    }
}

/// Whether something else made it, and would make it anew.
pub(super) fn is_owned(document: &Node) -> bool {
    !document.items(&["metadata", "ownerReferences"]).is_empty()
}

/// The container to stand in front of, as it was found.
struct Origin {
    /// Its place among the containers.
    index: usize,
    name: String,
    port: OriginPort,
    upstream: String,
}

/// What is kept to be put back.
#[derive(Default)]
struct Originals {
    /// By container, then by probe.
    probes: Map,
    /// The containers that were given a `preStop`.
    pre_stop: Vec<Node>,
}

/// Adds the gate; what somebody should know goes to `notes`.
pub(super) fn inject(
    document: &mut Node,
    gate: &Gate,
    container: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<Pods, InjectError> {
    let workload = super::name_of(document);
    let namespace = document.str_at(&["metadata", "namespace"]).map(str::to_owned);
    let path = pod_path(document).unwrap_or(&[]);
    let Some(pod) = document.at_mut(path) else { return Err(InjectError::NoContainers(workload)) };
    let taken =
        || CONTAINERS.iter().flat_map(|list| pod.items(&["spec", list])).any(|one| one.str_at(&["name"]) == Some(NAME));
    if taken() {
        return Err(InjectError::NameTaken(workload));
    }
    let origin = origin(pod, gate, container, &workload)?;
    check_ports(pod, gate, &origin, &workload)?;
    note_what_leads_around(pod, &origin, gate, notes);
    let (originals, checks) = change(pod, &origin, gate, notes);
    let other_ports = other_ports(pod, &origin, gate);
    let labels = pod.at(&["metadata", "labels"]).and_then(Node::as_map).cloned().unwrap_or_default();
    let list = if gate.is_native { "initContainers" } else { "containers" };
    let added = gate.container(&origin.upstream, &checks);
    let spec = pod.at_mut(&["spec"]).and_then(Node::as_map_mut);
    if let Some(containers) = spec.and_then(|spec| Node::list_in(spec, list)) {
        containers.push(added);
    }
    annotate(
        document,
        &Node::from([("probes", Node::Map(originals.probes)), ("preStop", Node::List(originals.pre_stop))]),
    );
    Ok(Pods { namespace, labels, origin: origin.port, gate_port: gate.port, other_ports, name: workload })
}

/// Takes away what [`inject`] added, and puts back what it changed; whether there was anything.
pub(super) fn restore(document: &mut Node) -> bool {
    let Some(originals) = take_annotation(document, ORIGINAL) else { return false };
    let path = pod_path(document).unwrap_or(&[]);
    let Some(pod) = document.at_mut(path) else { return false };
    for one in pod.items_mut(&["spec", "containers"]) {
        let Some(name) = one.str_at(&["name"]).map(str::to_owned) else { continue };
        if let Some(probes) = originals.at(&["probes", &name]).and_then(Node::as_map) {
            probes::restore(one, probes);
        }
        let was_given = originals.items(&["preStop"]).iter().any(|given| given.as_str() == Some(&name));
        let is_ours = one.at(&["lifecycle", "preStop"]).is_some_and(only_sleeps);
        if let Some(container) = one.as_map_mut().filter(|_| was_given && is_ours) {
            remove_within(container, "lifecycle", "preStop");
        }
    }
    let Some(spec) = pod.at_mut(&["spec"]).and_then(Node::as_map_mut) else { return false };
    for list in CONTAINERS {
        let Some(Node::List(containers)) = spec.get_mut(list) else { continue };
        containers.retain(|one| one.str_at(&["name"]) != Some(NAME));
        if containers.is_empty() {
            spec.shift_remove(list);
        }
    }
    true
}

/// Whether a hook is such as [`give_pre_stop`] writes.
fn only_sleeps(hook: &Node) -> bool {
    let is_alone = hook.as_map().is_some_and(|hook| hook.len() == 1);
    let command = hook.items(&["exec", "command"]).first().and_then(Node::as_str);
    is_alone && (hook.at(&["sleep"]).is_some() || command == Some("sleep"))
}

/// And the mapping itself where nothing else is in it.
pub(super) fn remove_within(map: &mut Map, name: &str, member: &str) {
    let Some(inner) = map.get_mut(name).and_then(Node::as_map_mut) else { return };
    inner.shift_remove(member);
    if inner.is_empty() {
        map.shift_remove(name);
    }
}

fn origin(pod: &Node, gate: &Gate, asked: Option<&str>, workload: &str) -> Result<Origin, InjectError> {
    let containers = pod.items(&["spec", "containers"]);
    let names = || containers.iter().filter_map(|one| one.str_at(&["name"])).collect::<Vec<_>>().join(", ");
    let annotated = pod.str_at(&["metadata", "annotations", DEFAULT_CONTAINER]);
    let has_ports = |one: &&Node| !one.items(&["ports"]).is_empty();
    let one_with_ports = containers.iter().find(has_ports).filter(|_| containers.iter().filter(has_ports).count() == 1);
    let found = match asked.or(annotated) {
        Some(name) => containers.iter().position(|one| one.str_at(&["name"]) == Some(name)),
        None if containers.len() == 1 => Some(0),
        None => one_with_ports.and_then(|one| containers.iter().position(|other| std::ptr::eq(one, other))),
    };
    let container = found.and_then(|index| Some((index, containers.get(index)?)));
    let Some((index, container)) = container else {
        let workload = workload.to_owned();
        return Err(if containers.is_empty() {
            InjectError::NoContainers(workload)
        } else {
            InjectError::WhichContainer { workload, names: names() }
        });
    };
    let name = container.str_at(&["name"]).unwrap_or_default().to_owned();
    let (number, upstream) = if let Some(upstream) = &gate.upstream {
        (super::port_of(upstream), upstream.clone())
    } else {
        let unknown = || InjectError::WhichPort { workload: workload.to_owned(), container: name.clone() };
        let port = only_port(container).ok_or_else(unknown)?;
        (Some(port), format!("http://127.0.0.1:{port}"))
    };
    let number = number.unwrap_or(0);
    let is_it = |port: &&Node| port.at(&["containerPort"]).and_then(Node::as_port) == Some(number);
    let port_name = container.items(&["ports"]).iter().find(is_it).and_then(|port| port.str_at(&["name"]));
    let port = OriginPort { number, name: port_name.map(str::to_owned) };
    Ok(Origin { index, name, port, upstream })
}

/// The one that it has, or the one that is called `http`.
fn only_port(container: &Node) -> Option<u16> {
    let ports = container.items(&["ports"]);
    let is_tcp = |port: &&Node| port.str_at(&["protocol"]).is_none_or(|protocol| protocol == "TCP");
    let ports: Vec<_> = ports.iter().filter(is_tcp).collect();
    let named = ports.iter().find(|port| port.str_at(&["name"]) == Some("http"));
    let found = if let [port] = ports[..] { Some(port) } else { named.copied() };
    found?.at(&["containerPort"])?.as_port()
}

/// The ports of the containers beside the origin, the gate's own among them.
fn other_ports(pod: &Node, origin: &Origin, gate: &Gate) -> Vec<OriginPort> {
    let is_beside = |(index, _): &(usize, &Node)| *index != origin.index;
    let beside = pod.items(&["spec", "containers"]).iter().enumerate().filter(is_beside).map(|(_, one)| one);
    let beside = beside.chain(pod.items(&["spec", "initContainers"])).flat_map(|one| one.items(&["ports"]));
    let named = |port: &Node| {
        let number = port.at(&["containerPort"])?.as_port()?;
        Some(OriginPort { number, name: port.str_at(&["name"]).map(str::to_owned) })
    };
    let gates = [(gate.port, NAME), (gate.health_port, "gate-health")];
    let gates = gates.map(|(number, name)| OriginPort { number, name: Some(name.to_owned()) });
    beside.filter_map(named).chain(gates).collect()
}

fn check_ports(pod: &Node, gate: &Gate, origin: &Origin, workload: &str) -> Result<(), InjectError> {
    let used = CONTAINERS.iter().flat_map(|list| pod.items(&["spec", list])).flat_map(|one| one.items(&["ports"]));
    let used: Vec<_> =
        used.filter_map(|port| port.at(&["containerPort"])?.as_port()).chain([origin.port.number]).collect();
    match gate.ports().find(|port| used.contains(port)) {
        Some(port) => Err(InjectError::PortTaken { workload: workload.to_owned(), port }),
        None => Ok(()),
    }
}

/// Probes and hooks of every container in the pod.
fn change(pod: &mut Node, origin: &Origin, gate: &Gate, notes: &mut Vec<String>) -> (Originals, Vec<String>) {
    let mut originals = Originals::default();
    let mut checks: Vec<String> = Vec::new();
    for (index, one) in pod.items_mut(&["spec", "containers"]).iter_mut().enumerate() {
        let name = one.str_at(&["name"]).unwrap_or_default().to_owned();
        // A name means a port of its own container.
        let port_name = origin.port.name.clone().filter(|_| index == origin.index);
        let port = OriginPort { name: port_name, ..origin.port };
        let rewritten = probes::rewrite(one, &port, gate.health_port);
        notes.extend(rewritten.notes.into_iter().map(|note| format!("container {name}: {note}")));
        for check in rewritten.checks.iter().map(ToString::to_string) {
            if !checks.contains(&check) {
                checks.push(check);
            }
        }
        if !rewritten.originals.is_empty() {
            originals.probes.insert(name.clone(), Node::Map(rewritten.originals));
        }
        if index == origin.index && give_pre_stop(one, gate, notes) {
            originals.pre_stop.push(Node::text(name));
        }
    }
    (originals, checks)
}

/// The origin lives on until the gate has drained.
fn give_pre_stop(container: &mut Node, gate: &Gate, notes: &mut Vec<String>) -> bool {
    let seconds = gate.stop_delay;
    let name = container.str_at(&["name"]).unwrap_or_default().to_owned();
    if container.at(&["lifecycle", "preStop"]).is_some() {
        notes.push(format!(
            "container {name}: its preStop is left as it is; it has to last {seconds} s, or requests are lost in a rollout"
        ));
        return false;
    }
    let seconds_node = Node::Int(seconds.try_into().unwrap_or(i64::MAX));
    let hook = match gate.pre_stop {
        PreStop::None => return false,
        PreStop::Sleep => {
            notes.push(format!(
                "container {name}: preStop.sleep needs Kubernetes 1.30 or newer; else use --pre-stop exec, or none"
            ));
            Node::from([("sleep", Node::from([("seconds", seconds_node)]))])
        }
        PreStop::Exec => {
            notes.push(format!(
                "container {name}: its preStop runs `sleep {seconds}`; if its image has no sleep, use --pre-stop sleep \
                 (Kubernetes 1.30 or newer), or none"
            ));
            let command = vec!["sleep".into(), Node::text(seconds.to_string())];
            Node::from([("exec", Node::from([("command", Node::List(command))]))])
        }
    };
    let lifecycle = container.as_map_mut().and_then(|container| Node::map_in(container, "lifecycle"));
    lifecycle.is_some_and(|lifecycle| lifecycle.insert("preStop".to_owned(), hook).is_none())
}

/// What still reaches the origin, or cannot reach it any more.
fn note_what_leads_around(pod: &Node, origin: &Origin, gate: &Gate, notes: &mut Vec<String>) {
    let OriginPort { number, .. } = origin.port;
    let name = &origin.name;
    let Some(container) = pod.items(&["spec", "containers"]).get(origin.index) else { return };
    match where_it_listens(container) {
        _ if number == 0 => {}
        Listens::OnLoopback => {}
        Listens::Everywhere(word) => notes.push(format!(
            "container {name}: it listens on all addresses ({word}), so everybody in the cluster reaches port {number} \
             around the gate; make it listen on 127.0.0.1"
        )),
        Listens::Unknown => notes.push(format!(
            "container {name}: make sure that it listens on 127.0.0.1:{number} and not on all addresses, where everybody \
             in the cluster reaches it around the gate"
        )),
    }
    if pod.at(&["spec", "hostNetwork"]) == Some(&Node::Bool(true)) {
        notes.push("hostNetwork: every process on the node reaches the origin on loopback".to_owned());
    }
    let ports = container.items(&["ports"]);
    let is_on_host = |port: &Node| {
        port.at(&["hostPort"]).is_some() && origin.port.is(port.at(&["containerPort"]).unwrap_or(&Node::Null))
    };
    if ports.iter().any(is_on_host) {
        notes.push(format!("container {name}: its hostPort leads to port {number} around the gate; remove it"));
    }
    for hook in ["postStart", "preStop"] {
        let asks = container.at(&["lifecycle", hook, "httpGet", "port"]).is_some_and(|port| origin.port.is(port));
        if asks {
            notes.push(format!(
                "container {name}: its {hook} asks port {number} from outside, where it does not answer"
            ));
        }
    }
    for file in gate.files() {
        notes.push(format!("{file}: mount it into the container {NAME} unless it is there"));
    }
}
