//! `claimgate inject`: reads manifests and writes them with the gate in front of the origin; `--remove` undoes it.
//!
//! What was changed is kept in an annotation, so that injecting is removing and injecting anew: twice is as once. All or
//! nothing: where one document cannot be done, none is written.

mod document;
mod gate;
mod listening;
mod probes;
mod service;
mod workload;

use std::io::{self, Read, Write};

use http::uri::Authority;

pub use self::document::Unreadable;
use self::document::{Documents, Map, Node};
use self::gate::Gate;
use self::service::Pods;
use crate::cli::InjectFlags;

/// The annotation that holds what was changed.
const ORIGINAL: &str = "claimgate/original";

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// Standard input or output.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The input.
    #[error("standard input: {0}")]
    Unreadable(#[from] Unreadable),
    /// Nobody's tokens would be accepted.
    #[error("--issuer: it is required, unless with --remove: whose tokens are accepted")]
    NoIssuer,
    /// The gate would not start with its flags.
    #[error("the gate's flags: {0}")]
    GateFlags(String),
    /// Its probes need a port.
    #[error("--health-listen cannot be off, nor --listen a socket: the kubelet and the Service have to reach them")]
    NoPort,
    /// `--pre-stop`.
    #[error("--pre-stop '{0}': it must be sleep, exec or none")]
    PreStop(String),
    /// There is nothing to stand in front of.
    #[error("there is no Deployment, StatefulSet, DaemonSet, ReplicaSet or Pod in the input")]
    NoWorkload,
    /// A workload that runs nothing.
    #[error("{0}: it has no containers")]
    NoContainers(String),
    /// Somebody else's container has our name.
    #[error("{0}: it has a container named claimgate that is not from here; remove it first")]
    NameTaken(String),
    /// More than one could be the origin.
    #[error("{workload}: which container is to be protected? Use --container with one of {names}")]
    WhichContainer {
        /// Where.
        workload: String,
        /// Of which.
        names: String,
    },
    /// No port, or more than one, could be the origin's.
    #[error("{workload}: where does container {container} listen? Use --upstream http://127.0.0.1:PORT")]
    WhichPort {
        /// Where.
        workload: String,
        /// Whose.
        container: String,
    },
    /// A port that the gate needs is in use.
    #[error(
        "{workload}: port {port} is in use there, and the gate needs it; give the gate others after --, such as \
         `-- --listen=0.0.0.0:4280 --health-listen=0.0.0.0:9281 --admin-listen=127.0.0.1:9280`"
    )]
    PortTaken {
        /// Where.
        workload: String,
        /// Which.
        port: u16,
    },
}

impl InjectError {
    /// The exit code: 2 for flags, as the gate itself has it, and 1 for what was read.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NoIssuer | Self::GateFlags(_) | Self::NoPort | Self::PreStop(_) => 2,
            _ => 1,
        }
    }
}

/// From standard input to standard output; what somebody should know goes to standard error.
pub fn run(flags: &InjectFlags) -> Result<(), InjectError> {
    let mut input = String::new();
    io::stdin().read_to_string(&mut input)?;
    let (output, notes) = transform(flags, &input)?;
    let mut stderr = io::stderr().lock();
    for note in notes {
        writeln!(stderr, "note: {note}")?;
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(output.as_bytes())?;
    Ok(stdout.flush()?)
}

/// The manifests as they should be, and notes.
fn transform(flags: &InjectFlags, input: &str) -> Result<(String, Vec<String>), InjectError> {
    let mut documents = Documents::parse(input)?;
    let mut notes = Vec::new();
    let mut objects = Vec::new();
    documents.all.iter_mut().for_each(|document| collect(document, &mut objects));
    let restored = objects.iter_mut().filter_map(|object| restore(object).then(|| name_of(object)));
    let restored: Vec<_> = restored.collect();
    if !flags.remove {
        inject(flags, &mut objects, &restored, &mut notes)?;
    } else if restored.is_empty() {
        notes.push("there was nothing to remove".to_owned());
    }
    drop(objects);
    Ok((documents.print()?, notes))
}

/// Each object, also those in lists.
fn collect<'n>(document: &'n mut Node, objects: &mut Vec<&'n mut Node>) {
    let is_list = document.str_at(&["kind"]).is_some_and(|kind| kind.ends_with("List"));
    if is_list {
        document.items_mut(&["items"]).iter_mut().for_each(|item| collect(item, objects));
    } else {
        objects.push(document);
    }
}

fn restore(object: &mut Node) -> bool {
    if service::is_service(object) {
        service::restore(object)
    } else {
        workload::pod_path(object).is_some() && workload::restore(object)
    }
}

fn inject(
    flags: &InjectFlags,
    objects: &mut [&mut Node],
    restored: &[String],
    notes: &mut Vec<String>,
) -> Result<(), InjectError> {
    if flags.issuer.is_empty() {
        return Err(InjectError::NoIssuer);
    }
    let gate = Gate::new(flags)?;
    let mut all_pods = Vec::new();
    for object in objects.iter_mut().filter(|object| workload::pod_path(object).is_some()) {
        let name = name_of(object);
        if workload::is_owned(object) {
            notes.push(format!("{name}: it is left as it is, since another object makes it"));
            continue;
        }
        let mut said = Vec::new();
        all_pods.push(workload::inject(object, &gate, flags.container.as_deref(), &mut said)?);
        notes.extend(said.into_iter().map(|note| format!("{name}: {note}")));
    }
    if all_pods.is_empty() {
        return Err(InjectError::NoWorkload);
    }
    for pods in &all_pods {
        move_services(objects, pods, restored, notes);
    }
    Ok(())
}

fn move_services(objects: &mut [&mut Node], pods: &Pods, restored: &[String], notes: &mut Vec<String>) {
    let mut has_moved = false;
    for object in objects.iter_mut().filter(|object| service::is_service(object) && service::selects(object, pods)) {
        if service::move_to_gate(object, pods) {
            has_moved = true;
            let name = name_of(object);
            let said = service::notes(object, pods, restored.contains(&pods.name));
            notes.extend(said.into_iter().map(|note| format!("{name}: {note}")));
        }
        let (name, around) = (name_of(object), service::ways_around(object, pods));
        notes.extend(around.into_iter().map(|note| format!("{name}: {note}")));
    }
    if !has_moved {
        let Pods { name, origin, gate_port, .. } = pods;
        notes.push(format!(
            "{name}: no Service in the input leads to its port {}; one that does has to lead to {gate_port} instead",
            origin.number
        ));
    }
}

/// `deployment/app`.
fn name_of(object: &Node) -> String {
    let kind = object.str_at(&["kind"]).unwrap_or("object").to_lowercase();
    let name = object.str_at(&["metadata", "name"]).or_else(|| object.str_at(&["metadata", "generateName"]));
    format!("{kind}/{}", name.unwrap_or("?"))
}

/// The port of an upstream on this machine; none where it has no port, as a unix socket.
fn port_of(upstream: &str) -> Option<u16> {
    let (_, rest) = upstream.split_once("://")?;
    let authority: Authority = rest.trim_end_matches('/').parse().ok()?;
    Some(authority.port_u16().unwrap_or(if upstream.starts_with("https:") { 443 } else { 80 }))
}

/// Keeps what was changed.
fn annotate(object: &mut Node, original: &Node) {
    let metadata = object.as_map_mut().and_then(|object| Node::map_in(object, "metadata"));
    let annotations = metadata.and_then(|metadata| Node::map_in(metadata, "annotations"));
    if let Some(annotations) = annotations {
        annotations.insert(ORIGINAL.to_owned(), Node::text(original.to_line()));
    }
}

/// What was kept; it is gone then.
fn take_annotation(object: &mut Node, name: &str) -> Option<Node> {
    let metadata = object.at_mut(&["metadata"])?.as_map_mut()?;
    let line = metadata.get("annotations")?.str_at(&[name])?.to_owned();
    workload::remove_within(metadata, "annotations", name);
    // A line that somebody has spoilt puts nothing back, and the gate is removed all the same.
    Some(Node::from_line(&line).unwrap_or(Node::Map(Map::new())))
}
