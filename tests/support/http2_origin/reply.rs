//! What an HTTP/2 origin is told to say.

use h2::Reason;
use http::{HeaderMap, HeaderName, HeaderValue};

/// What an origin does with a request, step by step.
#[derive(Clone, Debug)]
pub(crate) struct Http2Reply(pub(super) Vec<Step>);

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Reads the request's body to its end.
    ReadBody,
    /// An interim response (RFC 9110 §15.2).
    Interim(u16, HeaderMap),
    /// The head of the response; the stream goes on.
    Head(u16, HeaderMap),
    Data(Vec<u8>),
    /// So many bytes of the pattern.
    Pattern(u64),
    /// Sends back what comes, as it comes, trailers included.
    Echo,
    /// The end of the stream.
    End,
    Trailers(HeaderMap),
    /// Waits for [`Http2Origin::release`](super::Http2Origin::release).
    Hold,
    /// Waits until the other end goes away.
    Never,
    Reset(Reason),
    /// Closes the whole connection without a word.
    Close,
}

impl Http2Reply {
    /// After the whole request, a whole response.
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        Self(vec![Step::ReadBody]).head(status, headers).data(body).end()
    }

    pub(crate) fn ok(body: &str) -> Self {
        Self::new(200, &[], body)
    }

    /// Before the request's body has been read.
    pub(crate) fn early() -> Self {
        Self(Vec::new())
    }

    /// After the whole request.
    pub(crate) fn late() -> Self {
        Self(vec![Step::ReadBody])
    }

    /// Every byte and every trailer as it comes.
    pub(crate) fn echo() -> Self {
        Self::early().head(200, &[]).step(Step::Echo)
    }

    /// After the whole request, so many bytes of the pattern.
    pub(crate) fn pattern(length: u64) -> Self {
        Self::late().head(200, &[("content-length", &length.to_string())]).step(Step::Pattern(length)).end()
    }

    /// After the request's head, nothing, until the gate goes away.
    pub(crate) fn never() -> Self {
        Self(vec![Step::Never])
    }

    pub(crate) fn head(self, status: u16, headers: &[(&str, &str)]) -> Self {
        self.step(Step::Head(status, map(headers)))
    }

    pub(crate) fn interim(self, status: u16, headers: &[(&str, &str)]) -> Self {
        self.step(Step::Interim(status, map(headers)))
    }

    pub(crate) fn data(self, bytes: &str) -> Self {
        self.step(Step::Data(bytes.as_bytes().to_vec()))
    }

    pub(crate) fn trailers(self, trailers: &[(&str, &str)]) -> Self {
        self.step(Step::Trailers(map(trailers)))
    }

    pub(crate) fn end(self) -> Self {
        self.step(Step::End)
    }

    pub(crate) fn then_pattern(self, length: u64) -> Self {
        self.step(Step::Pattern(length))
    }

    pub(crate) fn hold(self) -> Self {
        self.step(Step::Hold)
    }

    pub(crate) fn then_never(self) -> Self {
        self.step(Step::Never)
    }

    pub(crate) fn reset(self, reason: Reason) -> Self {
        self.step(Step::Reset(reason))
    }

    pub(crate) fn close(self) -> Self {
        self.step(Step::Close)
    }

    fn step(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let field =
        |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        map.append(name, value);
    }
    map
}
