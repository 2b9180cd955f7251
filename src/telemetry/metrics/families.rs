//! Every metric there is, in the order in which they are shown. The README's table is held equal to it.

/// How a metric is to be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Goes up, and to 0 with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by their size.
    Histogram,
}

impl Kind {
    /// As `# TYPE` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// With its unit, and `_total` for a counter.
    pub name: &'static str,
    /// How it is to be read.
    pub kind: Kind,
    /// The names of its labels. What they say is bounded: never a subject, a `kid` or a path.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

macro_rules! families {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help]
        pub const $constant: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// Each of them.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    REQUESTS: Counter "claimgate_requests_total" ["outcome", "reason"]
        "Requests that ended, by outcome and by the reason of a denial.";
    RESPONSES: Counter "claimgate_responses_total" ["code"]
        "Responses that were begun, the origin's and our own, by the class of their status code.";
    RESPONSES_CUT: Counter "claimgate_responses_cut_total" ["cause"]
        "Responses that ended early after they had begun, by cause: its token ended, it stood still, or the origin failed.";
    REQUEST_DURATION: Histogram "claimgate_request_duration_seconds" ["outcome"]
        "Time from a request's head to the end of its answer.";
    UPSTREAM_ERRORS: Counter "claimgate_upstream_errors_total" ["reason"]
        "Requests that were denied because the origin failed, by reason.";
    UPSTREAM_OPENED: Counter "claimgate_upstream_connections_opened_total" []
        "Connections that were opened to the origin.";
    UPSTREAM_REUSED: Counter "claimgate_upstream_connections_reused_total" []
        "Times that an open connection to the origin was used once more.";
    UPSTREAM_CONNECTIONS: Gauge "claimgate_upstream_connections" ["state"]
        "Connections to the origin, by state: idle, or active (in use or being opened).";
    UPSTREAM_WAITING: Gauge "claimgate_upstream_waiting_requests" []
        "Requests that wait for a connection to the origin.";
    UPSTREAM_WAITS: Counter "claimgate_upstream_waits_total" []
        "Requests that have had to wait for a connection to the origin.";
    CLIENTS_ACCEPTED: Counter "claimgate_client_connections_accepted_total" []
        "Connections that were accepted from clients.";
    ACCEPT_FAILURES: Counter "claimgate_accept_failures_total" []
        "Times that no connection could be accepted, for want of file descriptors or memory.";
    HTTP2_ERRORS: Counter "claimgate_http2_errors_total" ["scope", "error"]
        "HTTP/2 streams and connections that were ended for what the client sent, without an answer, by scope (stream or connection) and error code.";
    CLIENTS: Gauge "claimgate_client_connections" []
        "Connections of clients that are open.";
    CACHE_HITS: Counter "claimgate_token_cache_hits_total" ["verdict"]
        "Tokens that were recognised instead of verified, by the verdict that was remembered.";
    CACHE_MISSES: Counter "claimgate_token_cache_misses_total" []
        "Tokens that were looked for in the cache and had to be verified.";
    CACHE_ENTRIES: Gauge "claimgate_token_cache_entries" ["verdict"]
        "Tokens that are remembered, by verdict.";
    FETCHES: Counter "claimgate_jwks_fetches_total" ["issuer", "result"]
        "Attempts to fetch an issuer's keys, discovery included, by result (success or failure).";
    LAST_SUCCESS: Gauge "claimgate_jwks_last_success_timestamp_seconds" ["issuer"]
        "When an issuer's keys were last fetched or confirmed; 0 for never.";
    AGE: Gauge "claimgate_jwks_age_seconds" ["issuer"]
        "Time since the issuer last confirmed the keys in use; absent without keys.";
    KEYS: Gauge "claimgate_jwks_keys" ["issuer"]
        "Keys that verify tokens now; 0 means that every token of this issuer gets 503.";
    CLOCK_SKEW: Gauge "claimgate_issuer_clock_skew_seconds" ["issuer"]
        "How far the issuer's clock is ahead of ours, exact to about a second; absent until it is known.";
    LOG_DROPPED: Counter "claimgate_log_lines_dropped_total" ["log"]
        "Lines that were dropped because their reader was too slow, by log: access (stdout) or diagnostics (stderr).";
    TASK_PANICS: Counter "claimgate_task_panics_total" []
        "Panics of tasks beside the requests (keys, files, ports), each of which was run again; /readyz?verbose names them.";
    READY: Gauge "claimgate_ready" []
        "1 when requests should come, as at /readyz; else 0.";
    BUILD_INFO: Gauge "claimgate_build_info" ["version"]
        "1, with the version that runs.";
    START_TIME: Gauge "process_start_time_seconds" []
        "When the process started, in seconds since the epoch.";
}
