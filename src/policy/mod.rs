//! May this request pass?

mod method_override;
mod rule;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, header};

pub use self::rule::{InvalidRoute, Route};
use crate::clock::NumericDate;
use crate::denial::Denial;
use crate::target;
use crate::token::AccessToken;

/// What is let through without a token.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Routes that need no token.
    pub skip_auth_routes: Vec<Route>,
    /// Whether CORS preflights need none (`OPTIONS` with `Origin` and `Access-Control-Request-Method`).
    pub skip_auth_preflight: bool,
}

/// What a request must bring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    /// A valid token.
    Token,
    /// Nothing: a route that was configured to be public.
    Public,
    /// Nothing: a CORS preflight, which no browser sends with a token.
    Preflight,
}

impl Rule {
    /// Whether a token is required.
    pub const fn requires_token(self) -> bool {
        matches!(self, Self::Token)
    }
}

/// The settings at work.
#[derive(Clone, Debug)]
pub struct Policy(Settings);

impl Policy {
    /// A policy of these settings.
    pub const fn new(settings: Settings) -> Self {
        Self(settings)
    }

    /// The rule for this request.
    pub fn rule_for(&self, head: &Parts) -> Rule {
        if self.0.skip_auth_preflight && is_preflight(head) && acts_by_its_method(head) {
            return Rule::Preflight;
        }
        let mut routes = self.0.skip_auth_routes.iter();
        let is_public = routes.any(|route| {
            route.matches(&head.method, target::path(head)) && (!route.has_method() || acts_by_its_method(head))
        });
        if is_public { Rule::Public } else { Rule::Token }
    }

    /// Decides whether the request may pass. The only maker of a [`Permit`].
    pub fn authorize(&self, rule: Rule, token: Option<AccessToken>) -> Result<Permit, Denial> {
        match (rule, token) {
            (Rule::Token, None) => Err(Denial::TokenMissing),
            (_, token) => Ok(Permit { token }),
        }
    }
}

/// Whether an origin can read no other method from a request than the one that a rule was chosen by.
fn acts_by_its_method(head: &Parts) -> bool {
    let is_overridden = method_override::is_asked_for(head);
    if is_overridden {
        tracing::debug!(method = %head.method, "a rule for one method does not cover a request that overrides its method");
    }
    !is_overridden
}

/// Whether a field of this name asks an origin to act upon another method than that of the request.
pub fn overrides_method(name: &HeaderName) -> bool {
    method_override::is_field(name.as_str())
}

/// The Fetch standard's "CORS-preflight request", not just any `OPTIONS`.
fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(header::ORIGIN)
        && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Evidence that a request may pass: without one, nothing is forwarded.
#[derive(Debug)]
pub struct Permit {
    token: Option<AccessToken>,
}

impl Permit {
    /// The headers that tell the origin who is calling; none on a public route.
    pub fn identity_headers(&self) -> &[(HeaderName, HeaderValue)] {
        self.token.as_ref().map_or(&[], AccessToken::headers)
    }

    /// The `exp` of its token.
    pub fn expiration(&self) -> Option<NumericDate> {
        self.token.as_ref().map(AccessToken::expiration)
    }

    /// What is asked whether it would be given again; none on a public route.
    pub fn standing(&self) -> Option<Standing> {
        self.token.clone().map(Standing)
    }

    /// From when on its token is refused; never on a public route.
    pub fn accepted_until(&self) -> Option<NumericDate> {
        self.token.as_ref().map(AccessToken::accepted_until)
    }
}

/// Tells whether what a request passed with still stands, for what goes on for longer than a request.
#[derive(Clone, Debug)]
pub struct Standing(AccessToken);

impl Standing {
    /// Whether its token's key was withdrawn.
    pub fn is_withdrawn(&self) -> bool {
        self.0.is_withdrawn()
    }
}
