//! The environment, read once: where a value came from, and what stands there that may surprise.

use std::collections::BTreeMap;
use std::env;

use clap::CommandFactory;

use crate::cli::Flags;

const PREFIX: &str = "CLAIMGATE_";
/// Beside the two of plain HTTP, which hardly any issuer speaks.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Variables and their values.
#[derive(Debug, Default)]
pub(super) struct Environment(BTreeMap<String, String>);

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// The variable of a flag.
pub(super) fn twin(flag: &str) -> String {
    format!("{PREFIX}{}", flag.replace('-', "_").to_ascii_uppercase())
}

impl Environment {
    /// This process's. What is not UTF-8 stays readable enough to be told.
    pub(super) fn of_this_process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// A variable's value; an empty one counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a flag's value stands in its variable, alone or in a list.
    pub(super) fn holds(&self, flag: &str, value: &str) -> bool {
        let is_it = |held: &String| held == value || held.split(',').any(|item| item.trim() == value.trim());
        self.0.get(&twin(flag)).is_some_and(is_it)
    }

    /// What an operator should know. No values: a proxy's may hold a password.
    pub(super) fn warnings(&self) -> Vec<String> {
        let proxies = PROXIES.into_iter().filter(|name| self.get(name).is_some());
        let proxies = proxies.map(|name| {
            format!("{name} is set: keys are fetched through that proxy, except from loopback and NO_PROXY")
        });
        let command = Flags::command();
        let known: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_env).collect();
        let unknown = self.0.keys().filter(|name| name.starts_with(PREFIX));
        let unknown = unknown.filter(|name| !known.iter().any(|known| *known == name.as_str()));
        let unknown = unknown.filter(|name| !is_of_kubernetes(name));
        let unknown = unknown.map(|name| format!("{name} is set, and no setting has that name: see claimgate --help"));
        proxies.chain(unknown).collect()
    }
}

/// What Kubernetes sets in every container beside a Service named `claimgate`.
fn is_of_kubernetes(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or(name);
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}
