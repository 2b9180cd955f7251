//! The command line: every flag with its env twin, subcommands; strings only. What they mean is `config`'s to say.

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};

const USAGE: &str = "claimgate --upstream URL --issuer URL [--audience AUD] [OPTIONS]\n       claimgate COMMAND";
const ENVIRONMENT: &str = "Every flag can be an environment variable: --jwks-url is CLAIMGATE_JWKS_URL. A flag goes \
before a variable.\nA repeatable flag that is given once, and its variable, take a comma list; given again, each value is \
whole, commas and all.\nDurations are such as 300ms, 30s or 5m; sizes such as 16KiB.";

/// Lets a request through only with a JWT that its issuer really signed.
#[derive(Clone, Debug, Default, Parser)]
#[command(
    name = "claimgate",
    version,
    args_conflicts_with_subcommands = true,
    override_usage = USAGE,
    after_help = ENVIRONMENT,
    mut_args(|argument| argument.hide_env(true))
)]
pub struct Flags {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where requests go.
    #[command(flatten)]
    pub origin: OriginFlags,
    /// Which tokens are accepted.
    #[command(flatten)]
    pub token: TokenFlags,
    /// Which requests need one.
    #[command(flatten)]
    pub route: RouteFlags,
    /// What the origin is told.
    #[command(flatten)]
    pub claims: ClaimsFlags,
    /// Where it listens.
    #[command(flatten)]
    pub listen: ListenFlags,
    /// How long things may take.
    #[command(flatten)]
    pub limits: LimitFlags,
    /// What it tells.
    #[command(flatten)]
    pub log: LogFlags,
}

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// An issuer, an origin and the gate between them on this machine, with curl lines to paste
    Demo,
    /// Asks the gate beside it whether it is ready; exit code 0 or 1, for probes inside the container
    Healthcheck(HealthcheckFlags),
    /// Reads Kubernetes manifests and writes them with the gate as a sidecar: kubectl get deploy,svc app -o yaml |
    /// claimgate inject --issuer URL | kubectl replace -f -
    Inject(InjectFlags),
}

/// What is added to manifests.
#[derive(Args, Clone, Debug, Default)]
pub struct InjectFlags {
    /// Whose tokens are accepted; repeatable
    #[arg(long, value_name = "URL")]
    pub issuer: Vec<String>,
    /// Who a token must be for; repeatable
    #[arg(long, value_name = "AUD")]
    pub audience: Vec<String>,
    /// Where the service listens in its pod [default: `http://127.0.0.1:` and the container's port]
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,
    /// Which container is the service, where that is not plain
    #[arg(long, value_name = "NAME")]
    pub container: Option<String>,
    /// The gate's image [default: claimgate and this version]
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// An ordinary container, for Kubernetes before 1.29, which has no native sidecars
    #[arg(long)]
    pub plain: bool,
    /// How the service outlives the gate's drain: sleep (Kubernetes 1.30), exec (its image has `sleep`) or none
    /// [default: sleep; exec with --plain]
    #[arg(long, value_name = "HOW")]
    pub pre_stop: Option<String>,
    /// Takes away what was added, and puts back what was changed
    #[arg(long)]
    pub remove: bool,
    /// Any other flags of the gate, after --
    #[arg(last = true, value_name = "GATE FLAGS")]
    pub gate_flags: Vec<String>,
}

/// Whom to ask, and what.
#[derive(Args, Clone, Debug, Default)]
pub struct HealthcheckFlags {
    /// The gate's health listener; asked before the admin listener
    #[arg(long, env = "CLAIMGATE_HEALTH_LISTEN", value_name = "ADDR|OFF")]
    pub health_listen: Option<String>,
    /// The gate's admin listener [default: 127.0.0.1:9180]
    #[arg(long, env = "CLAIMGATE_ADMIN_LISTEN", value_name = "ADDR|OFF")]
    pub admin_listen: Option<String>,
    /// What to ask for: /readyz, /livez or /startupz
    #[arg(long, value_name = "PATH", default_value = "/readyz")]
    pub path: String,
    /// The status code that counts as healthy
    #[arg(long, value_name = "CODE", default_value_t = 200)]
    pub status: u16,
    /// How long it may take
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub timeout: String,
}

/// Where requests go.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Origin")]
pub struct OriginFlags {
    /// The service to protect: `http://HOST[:PORT]`, `https://…`, `h2c://…` or unix:PATH
    #[arg(long, env = "CLAIMGATE_UPSTREAM", value_name = "URL")]
    pub upstream: Option<String>,
    /// CA certificates to trust for an `https://` service, beside the usual ones (PEM); read again when they change
    #[arg(long, env = "CLAIMGATE_UPSTREAM_CA_FILE", value_name = "FILE")]
    pub upstream_ca_file: Option<String>,
    /// The certificate that an `https://` service is shown (PEM)
    #[arg(long, env = "CLAIMGATE_UPSTREAM_CLIENT_CERT_FILE", value_name = "FILE")]
    pub upstream_client_cert_file: Option<String>,
    /// Its key (PEM)
    #[arg(long, env = "CLAIMGATE_UPSTREAM_CLIENT_KEY_FILE", value_name = "FILE")]
    pub upstream_client_key_file: Option<String>,
    /// The name that its certificate must be for [default: the host of --upstream]
    #[arg(long, env = "CLAIMGATE_UPSTREAM_SERVER_NAME", value_name = "NAME")]
    pub upstream_server_name: Option<String>,
    /// A protocol that may be switched to by Upgrade, beside websocket; repeatable. Never h2c
    #[arg(long, env = "CLAIMGATE_ALLOW_UPGRADE", value_name = "PROTOCOL")]
    pub allow_upgrade: Vec<String>,
    /// Whether the service sees the token itself: keep or strip [default: keep]
    #[arg(long, env = "CLAIMGATE_FORWARD_TOKEN", value_name = "KEEP|STRIP")]
    pub forward_token: Option<String>,
    /// A proxy in front whose X-Forwarded-* fields are believed; `unix` for one on a unix socket; repeatable
    #[arg(long, env = "CLAIMGATE_TRUSTED_PROXY", value_name = "CIDR", alias = "trusted-proxy-ip")]
    pub trusted_proxy: Vec<String>,
}

/// Which tokens are accepted.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Tokens")]
pub struct TokenFlags {
    /// Whose tokens are accepted, byte for byte their iss; repeatable
    #[arg(long, env = "CLAIMGATE_ISSUER", value_name = "URL", alias = "oidc-issuer-url")]
    pub issuer: Vec<String>,
    /// Where the issuer's keys are, instead of discovery
    #[arg(long, env = "CLAIMGATE_JWKS_URL", value_name = "URL", alias = "oidc-jwks-url")]
    pub jwks_url: Option<String>,
    /// Who a token must be for (aud), any one of them; repeatable. Without it any audience passes
    #[arg(long, env = "CLAIMGATE_AUDIENCE", value_name = "AUD")]
    pub audience: Vec<String>,
    /// How far clocks may differ, for exp, nbf and iat [default: 30s, at most 5m]
    #[arg(long, env = "CLAIMGATE_LEEWAY", value_name = "DURATION")]
    pub leeway: Option<String>,
    /// The longest time from a token's iat to its exp; a token without iat is then refused [default: any]
    #[arg(long, env = "CLAIMGATE_MAX_TOKEN_LIFETIME", value_name = "DURATION")]
    pub max_token_lifetime: Option<String>,
    /// A signature algorithm that is accepted; repeatable [default: all that are safe]
    #[arg(long, env = "CLAIMGATE_ALLOWED_ALG", value_name = "ALG")]
    pub allowed_alg: Vec<String>,
    /// Permits an `http://` issuer that is not on loopback
    #[arg(long, env = "CLAIMGATE_INSECURE_ISSUER", value_name = "TRUE|FALSE", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = BoolishValueParser::new(), hide_default_value = true, hide_possible_values = true)]
    pub insecure_issuer: bool,
    /// CA certificates to trust for the issuer, beside the usual ones (PEM); read again when they change
    #[arg(long, env = "CLAIMGATE_ISSUER_CA_FILE", value_name = "FILE")]
    pub issuer_ca_file: Option<String>,
    /// A bearer token for fetching the keys where they are not public, read anew for each fetch
    #[arg(long, env = "CLAIMGATE_JWKS_BEARER_TOKEN_FILE", value_name = "FILE")]
    pub jwks_bearer_token_file: Option<String>,
    /// How often an unknown key id may cause a fetch [default: 10s]
    #[arg(long, env = "CLAIMGATE_JWKS_REFRESH_COOLDOWN", value_name = "DURATION")]
    pub jwks_refresh_cooldown: Option<String>,
    /// How long one fetch of the keys may take [default: 5s]
    #[arg(long, env = "CLAIMGATE_JWKS_TIMEOUT", value_name = "DURATION")]
    pub jwks_timeout: Option<String>,
    /// How long the last good keys serve on when the issuer is down [default: 24h]
    #[arg(long, env = "CLAIMGATE_JWKS_MAX_STALE", value_name = "DURATION")]
    pub jwks_max_stale: Option<String>,
    /// A directory in which the last good keys survive a restart [default: off]
    #[arg(long, env = "CLAIMGATE_JWKS_CACHE_DIR", value_name = "DIR")]
    pub jwks_cache_dir: Option<String>,
    /// How much memory tokens that were seen before may take, over all workers; 0 for none [default: 16MiB]
    #[arg(long, env = "CLAIMGATE_TOKEN_CACHE_SIZE", value_name = "SIZE")]
    pub token_cache_size: Option<String>,
    /// Where in Sec-WebSocket-Protocol a token may stand, for browsers: behind this prefix (it ends with a dot), or in
    /// the entry after this name [default: off]
    #[arg(long, env = "CLAIMGATE_TOKEN_WEBSOCKET_PROTOCOL", value_name = "PREFIX.|NAME")]
    pub token_websocket_protocol: Option<String>,
    /// The protection space in WWW-Authenticate [default: claimgate]
    #[arg(long, env = "CLAIMGATE_REALM", value_name = "TEXT")]
    pub realm: Option<String>,
}

/// Which requests need a token.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Routes")]
pub struct RouteFlags {
    /// A route that needs no token: exact, or a prefix with a final /*; with METHOD not for requests with X-HTTP-Method-Override or its kin; repeatable
    #[arg(long, env = "CLAIMGATE_SKIP_AUTH_ROUTE", value_name = "[METHOD=]PATH")]
    pub skip_auth_route: Vec<String>,
    /// CORS preflights need no token
    #[arg(long, env = "CLAIMGATE_SKIP_AUTH_PREFLIGHT", value_name = "TRUE|FALSE", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = BoolishValueParser::new(), hide_default_value = true, hide_possible_values = true)]
    pub skip_auth_preflight: bool,
}

/// What the origin is told.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Claims")]
pub struct ClaimsFlags {
    /// The header for all claims [default: X-JWT-Claims]
    #[arg(long, env = "CLAIMGATE_CLAIMS_HEADER", value_name = "NAME")]
    pub claims_header: Option<String>,
    /// How they are written there: base64url or json [default: base64url]
    #[arg(long, env = "CLAIMGATE_CLAIMS_FORMAT", value_name = "FORMAT")]
    pub claims_format: Option<String>,
    /// One claim as text in a header of its own, nested with dots; repeatable
    #[arg(long, env = "CLAIMGATE_CLAIM_HEADER", value_name = "CLAIM=HEADER")]
    pub claim_header: Vec<String>,
    /// The most that these headers may take [default: 8KiB]
    #[arg(long, env = "CLAIMGATE_CLAIMS_HEADER_MAX", value_name = "SIZE")]
    pub claims_header_max: Option<String>,
}

/// Where it listens.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Listeners")]
pub struct ListenFlags {
    /// Where requests are taken [default: 0.0.0.0:4180]: `[::]:4180` (IPv4 too), `unix:/PATH`, or `fd:3` from systemd
    #[arg(long, env = "CLAIMGATE_LISTEN", value_name = "ADDR|unix:PATH|fd:N")]
    pub listen: Option<String>,
    /// The certificate chain for TLS, in PEM; read again when it changes [default: no TLS]
    #[arg(long, env = "CLAIMGATE_TLS_CERT_FILE", value_name = "FILE")]
    pub tls_cert_file: Option<String>,
    /// Its private key, in PEM
    #[arg(long, env = "CLAIMGATE_TLS_KEY_FILE", value_name = "FILE", alias = "tls-private-key-file")]
    pub tls_key_file: Option<String>,
    /// The oldest version of TLS: 1.2 or 1.3 [default: 1.2]
    #[arg(long, env = "CLAIMGATE_TLS_MIN_VERSION", value_name = "VERSION")]
    pub tls_min_version: Option<String>,
    /// CA certificates, in PEM: clients then need a certificate of one of them
    #[arg(long, env = "CLAIMGATE_TLS_CLIENT_CA_FILE", value_name = "FILE", alias = "client-ca-file")]
    pub tls_client_ca_file: Option<String>,
    /// How often these files are looked at [default: 5s]
    #[arg(long, env = "CLAIMGATE_TLS_RELOAD_INTERVAL", value_name = "DURATION")]
    pub tls_reload_interval: Option<String>,
    /// Every connection begins with a PROXY header, v1 or v2, of a --trusted-proxy
    #[arg(long, env = "CLAIMGATE_PROXY_PROTOCOL", value_name = "TRUE|FALSE", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = BoolishValueParser::new(), hide_default_value = true, hide_possible_values = true)]
    pub proxy_protocol: bool,
    /// Where the kubelet asks: /livez, /readyz, /startupz [default: off]
    #[arg(long, env = "CLAIMGATE_HEALTH_LISTEN", value_name = "ADDR|OFF")]
    pub health_listen: Option<String>,
    /// What /healthz/origin on the health listener may check at the service: /PATH (GET), tcp, grpc or grpc:SERVICE;
    /// repeatable
    #[arg(long, env = "CLAIMGATE_ORIGIN_HEALTH_CHECK", value_name = "CHECK")]
    pub origin_health_check: Vec<String>,
    /// The same with ?verbose, and /metrics, for operators; loopback only [default: 127.0.0.1:9180]
    #[arg(long, env = "CLAIMGATE_ADMIN_LISTEN", value_name = "ADDR|OFF")]
    pub admin_listen: Option<String>,
    /// Worker threads [default: the CPUs that the cgroup allows, at most 4]
    #[arg(long, env = "CLAIMGATE_WORKERS", value_name = "N")]
    pub workers: Option<String>,
    /// Connections at a time, over all workers [default: 10000]
    #[arg(long, env = "CLAIMGATE_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<String>,
    /// How long connections are still accepted after SIGTERM [default: 0s]
    #[arg(long, env = "CLAIMGATE_DRAIN_DELAY", value_name = "DURATION")]
    pub drain_delay: Option<String>,
    /// How long requests in flight may take after that [default: 25s]
    #[arg(long, env = "CLAIMGATE_SHUTDOWN_GRACE_PERIOD", value_name = "DURATION")]
    pub shutdown_grace_period: Option<String>,
}

/// How long things may take, and how large they may be.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// For a request head: the first from accept, later ones from their first byte [default: 10s]
    #[arg(long, env = "CLAIMGATE_HEADER_TIMEOUT", value_name = "DURATION")]
    pub header_timeout: Option<String>,
    /// Between requests on one connection [default: 75s]
    #[arg(long, env = "CLAIMGATE_IDLE_TIMEOUT", value_name = "DURATION", alias = "keep-alive-timeout")]
    pub idle_timeout: Option<String>,
    /// Connections to the service at a time, over all workers [default: 1024]
    #[arg(long, env = "CLAIMGATE_MAX_UPSTREAM_CONNECTIONS", value_name = "N")]
    pub max_upstream_connections: Option<String>,
    /// Requests that may wait for one of them, over all workers; 0 for none [default: 1024]
    #[arg(long, env = "CLAIMGATE_MAX_WAITING_REQUESTS", value_name = "N")]
    pub max_waiting_requests: Option<String>,
    /// For a connection to the service, and before it for the wait until one is free [default: 2s]
    #[arg(long, env = "CLAIMGATE_UPSTREAM_CONNECT_TIMEOUT", value_name = "DURATION")]
    pub upstream_connect_timeout: Option<String>,
    /// For the service's response header, from the end of the request [default: 30s]
    #[arg(long, env = "CLAIMGATE_UPSTREAM_TIMEOUT", value_name = "DURATION")]
    pub upstream_timeout: Option<String>,
    /// How long a connection to the service may be idle and be used again [default: 1s, for HTTP/2 1m]
    #[arg(long, env = "CLAIMGATE_UPSTREAM_IDLE_TIMEOUT", value_name = "DURATION")]
    pub upstream_idle_timeout: Option<String>,
    /// How long a body may stand still, in either direction [default: 5m]
    #[arg(long, env = "CLAIMGATE_STREAM_IDLE_TIMEOUT", value_name = "DURATION")]
    pub stream_idle_timeout: Option<String>,
    /// What becomes of event streams and gRPC calls when their token ends or its key is withdrawn: close or ignore [default: close]
    #[arg(long, env = "CLAIMGATE_STREAM_EXPIRY", value_name = "CLOSE|IGNORE")]
    pub stream_expiry: Option<String>,
    /// What a request body must bring in 10 s on average after its first 30 s; 0 for nothing [default: 1KiB]
    #[arg(long, env = "CLAIMGATE_MIN_BODY_RATE", value_name = "SIZE")]
    pub min_body_rate: Option<String>,
    /// A request head [default: 64KiB]
    #[arg(long, env = "CLAIMGATE_MAX_HEADER_SIZE", value_name = "SIZE")]
    pub max_header_size: Option<String>,
    /// A request body [default: no limit]
    #[arg(long, env = "CLAIMGATE_MAX_BODY_SIZE", value_name = "SIZE")]
    pub max_body_size: Option<String>,
}

/// What it tells.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Logs")]
pub struct LogFlags {
    /// json or text [default: text on a terminal, else json]
    #[arg(long, env = "CLAIMGATE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// error, warn, info, debug, trace [default: info]
    #[arg(long, env = "CLAIMGATE_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Requests on stdout: denied (what was answered here), all or off [default: denied]
    #[arg(long, env = "CLAIMGATE_ACCESS_LOG", value_name = "WHICH")]
    pub access_log: Option<String>,
}
