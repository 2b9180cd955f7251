//! Fields that are for one connection only (RFC 9110 §7.6.1), in both directions.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The most members that a list has which is read here: far more than any real one. Each is compared with each field.
const MAX_MEMBERS: usize = 64;

/// More of them; in the field of this name.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooMany<'n>(&'n HeaderName);

impl std::fmt::Display for TooMany<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "more than {MAX_MEMBERS} members in the list {}", self.0)
    }
}

/// Whether the gate reads a field of this name as a list (RFC 9110 §5.6.1).
pub(super) const fn is_list(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION | header::SEC_WEBSOCKET_PROTOCOL | header::TE | header::TRAILER | header::UPGRADE
    )
}

/// Refuses a list that is too long to be read, all its fields together and empty members included.
pub(super) fn check_list<'n>(headers: &HeaderMap, name: &'n HeaderName) -> Result<(), TooMany<'n>> {
    let values = headers.get_all(name).iter();
    let members: usize =
        values.map(|value| memchr::memchr_iter(b',', value.as_bytes()).count().saturating_add(1)).sum();
    if members > MAX_MEMBERS { Err(TooMany(name)) } else { Ok(()) }
}

/// Names that end at each hop. `Trailer` is not among them: what it announces is forwarded.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Names that decide how a message is read or where it goes: no other spelling of them is forwarded, and none of them
/// stands in trailers.
pub(super) fn is_framing_or_routing(folded: &str) -> bool {
    matches!(
        folded,
        "host"
            | "content-length"
            | "transfer-encoding"
            | "connection"
            | "keep-alive"
            | "te"
            | "trailer"
            | "upgrade"
            | "expect"
            | "proxy-connection"
            | "http2-settings"
            | "content-type"
            | "cookie"
            | "authorization"
            | "proxy-authorization"
    )
}

/// What a `Connection` field names, which ends at this hop too.
#[derive(Debug, Default)]
pub(super) struct Nominated<'h>(Vec<&'h str>);

impl<'h> Nominated<'h> {
    pub(super) fn by(headers: &'h HeaderMap) -> Self {
        // What most messages have: nothing, or what is about the connection itself.
        match headers.get(header::CONNECTION).map(HeaderValue::as_bytes) {
            None => return Self::default(),
            Some(b"keep-alive" | b"close") if headers.get_all(header::CONNECTION).iter().nth(1).is_none() => {
                return Self::default();
            }
            Some(_) => {}
        }
        let fields = headers.get_all(header::CONNECTION).iter();
        let options = fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(',')).map(str::trim);
        // What frames and routes the message is written afresh; nobody can take it away.
        Self(options.filter(|option| !is_about_the_connection(option)).collect())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contain(&self, name: &str) -> bool {
        self.0.iter().any(|option| option.eq_ignore_ascii_case(name))
    }
}

fn is_about_the_connection(option: &str) -> bool {
    ["close", "keep-alive", "upgrade", "te", "host", "content-length", "transfer-encoding", ""]
        .iter()
        .any(|known| option.eq_ignore_ascii_case(known))
}

/// Whether the sender takes trailers (RFC 9110 §10.1.4).
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::TE).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// The names that a `Trailer` field announces, without those that may not stand in trailers.
pub(super) fn announced_trailers(value: &HeaderValue, may_pass: impl Fn(&HeaderName) -> bool) -> Vec<HeaderName> {
    let names = value.to_str().unwrap_or_default().split(',').filter_map(|name| name.trim().parse().ok());
    names.filter(|name| may_pass(name)).collect()
}

/// The field that announces these; `None` where there are none.
pub(super) fn announcement(names: &[HeaderName]) -> Option<HeaderValue> {
    let names: Vec<_> = names.iter().map(HeaderName::as_str).collect();
    HeaderValue::try_from(names.join(", ")).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields =
            fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        fields.collect()
    }

    #[test]
    fn a_connection_field_names_what_ends_here_but_never_the_framing() {
        let headers =
            headers(&[("connection", "close, X-Debug , Host,content-length"), ("connection", "x-jwt-claims")]);
        let nominated = Nominated::by(&headers);
        for (name, expected) in
            [("x-debug", true), ("x-jwt-claims", true), ("host", false), ("content-length", false), ("x-other", false)]
        {
            assert_eq!(nominated.contain(name), expected, "{name}");
        }
    }

    #[test]
    fn a_second_connection_field_counts_behind_a_usual_one() {
        for usual in ["keep-alive", "close"] {
            let headers = headers(&[("connection", usual), ("connection", "x-debug")]);
            assert!(Nominated::by(&headers).contain("x-debug"), "{usual}");
        }
    }

    #[test]
    fn trailers_are_taken_only_when_te_says_so() {
        assert!(takes_trailers(&headers(&[("te", "gzip, Trailers")])));
        assert!(!takes_trailers(&headers(&[("te", "gzip")])));
        assert!(!takes_trailers(&headers(&[])));
    }

    #[test]
    fn a_trailer_field_keeps_the_names_that_may_pass() {
        let may_pass = |name: &HeaderName| !is_framing_or_routing(name.as_str());
        let announced = announced_trailers(&HeaderValue::from_static("Digest, Content-Length , host"), may_pass);
        assert_eq!(announcement(&announced), Some(HeaderValue::from_static("digest")));
        assert_eq!(announcement(&announced_trailers(&HeaderValue::from_static("Host"), may_pass)), None);
    }
}
