//! Flags that take a list.

use std::collections::HashSet;

use crate::cli::Flags;
use crate::telemetry::shown;

/// How much of a list is shown, in bytes.
const MAX_SHOWN: usize = 256;

/// The flags with each list in its parts, and how those were read where that may surprise.
pub(super) fn read(flags: &Flags) -> (Flags, Vec<String>) {
    let mut flags = flags.clone();
    let mut readings = Vec::new();
    for (flag, values) in lists(&mut flags) {
        let parts = parts(values);
        if let ([list], true) = (&values[..], parts.len() > 1) {
            let quoted: Vec<_> = parts.iter().map(|part| format!("'{}'", shown(part.trim(), MAX_SHOWN))).collect();
            readings.push(format!(
                "--{flag} '{}' is read as {} values: {}; a value with a comma in it is whole where the flag is given twice",
                shown(list, MAX_SHOWN),
                parts.len(),
                quoted.join(" and ")
            ));
        }
        *values = parts;
    }
    (flags, readings)
}

/// One value, from a flag or a variable, has its parts between commas; of more each is whole, and one that is given twice
/// for the sake of its comma is one.
pub(crate) fn parts(values: &[String]) -> Vec<String> {
    if let [list] = values {
        return list.split(',').map(str::to_owned).collect();
    }
    let mut seen = HashSet::new();
    values.iter().filter(|value| !value.contains(',') || seen.insert(*value)).cloned().collect()
}

fn lists(flags: &mut Flags) -> [(&'static str, &mut Vec<String>); 8] {
    [
        ("allow-upgrade", &mut flags.origin.allow_upgrade),
        ("trusted-proxy", &mut flags.origin.trusted_proxy),
        ("issuer", &mut flags.token.issuer),
        ("audience", &mut flags.token.audience),
        ("allowed-alg", &mut flags.token.allowed_alg),
        ("skip-auth-route", &mut flags.route.skip_auth_route),
        ("claim-header", &mut flags.claims.claim_header),
        ("origin-health-check", &mut flags.listen.origin_health_check),
    ]
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, CommandFactory};

    use super::*;

    #[test]
    fn every_flag_that_can_be_repeated_is_a_list() {
        let command = Flags::command();
        let repeated = command.get_arguments().filter(|argument| matches!(argument.get_action(), ArgAction::Append));
        let repeated: HashSet<_> = repeated.filter_map(clap::Arg::get_long).collect();
        let known: HashSet<_> = lists(&mut Flags::default()).into_iter().map(|(flag, _)| flag).collect();
        assert_eq!(repeated, known);
    }
}
