//! How many file descriptors there are: each connection takes one, on either side.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open beside connections: listeners, runtimes, fetches, probes.
const RESERVE: u64 = 64;

/// The descriptors that this process may have; `None` for any number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Descriptors(Option<u64>);

impl Descriptors {
    /// Takes as many as the system permits. The limit that processes start with is often 1,024, for the sake of programs
    /// that cannot count further.
    pub fn claim() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, ..limit };
        Self(if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current })
    }

    /// What to say when there are too few for so many connections.
    pub fn shortage(self, clients: usize, upstream: usize) -> Option<String> {
        let needed = (clients as u64).saturating_add(upstream as u64).saturating_add(RESERVE);
        let limit = self.0.filter(|limit| *limit < needed)?;
        Some(format!(
            "{limit} file descriptors are too few for --max-connections {clients} and --max-upstream-connections \
             {upstream}: when they run out, clients wait or get 503; raise the limit (ulimit -n {needed}) or lower these"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_with_what_is_needed() {
        assert_eq!(Descriptors(Some(11_088)).shortage(10_000, 1024), None);
        assert_eq!(Descriptors(None).shortage(usize::MAX, usize::MAX), None);
        let said = Descriptors(Some(11_087)).shortage(10_000, 1024).unwrap();
        assert!(said.starts_with("11087 file") && said.contains("ulimit -n 11088"), "{said}");
    }
}
