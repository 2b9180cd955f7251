//! May this request pass?

mod rule;

pub use rule::{InvalidRoute, Route};

/// What is let through without a token.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Routes that need no token.
    pub skip_auth_routes: Vec<Route>,
    /// Whether CORS preflights need none (`OPTIONS` with `Origin` and `Access-Control-Request-Method`).
    pub skip_auth_preflight: bool,
}
