//! What an origin is told to say.

use std::time::Duration;

/// What an origin does with a request, step by step.
#[derive(Clone, Debug)]
pub(crate) struct Reply(pub(super) Vec<Step>);

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Reads the request's body to its end.
    ReadBody,
    /// Switches to WebSocket, with the answer to the request's key (RFC 6455 §4.2.2).
    Switch,
    /// Writes these bytes.
    Write(Vec<u8>),
    /// Writes so many bytes of the pattern.
    Pattern(u64),
    Wait(Duration),
    /// Waits for so many of [`Origin::release`].
    Hold(usize),
    /// Waits until the other end goes away.
    Never,
    /// Closes with a reset.
    Reset,
    /// Says that it is the end, and closes.
    End,
    /// Just closes.
    Close,
}

impl Default for Reply {
    fn default() -> Self {
        Self::ok("ok")
    }
}

impl Reply {
    /// After the whole request, a response with a known length.
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut fields: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        if !matches!(status, 204 | 304) {
            fields.push(format!("Content-Length: {}\r\n", body.len()));
        }
        let fields = fields.concat();
        Self::raw(format!("HTTP/1.1 {status} Whatever\r\n{fields}\r\n{body}"))
    }

    pub(crate) fn ok(body: &str) -> Self {
        Self::new(200, &[], body)
    }

    /// After the whole request, these bytes; the connection stays open.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self(vec![Step::ReadBody, Step::Write(bytes.into())])
    }

    /// After the request's head, nothing, until the gate goes away.
    pub(crate) fn never() -> Self {
        Self(vec![Step::Never])
    }

    /// After the request's head, these bytes, without reading the body.
    pub(crate) fn early(bytes: impl Into<Vec<u8>>) -> Self {
        Self(vec![Step::Write(bytes.into())])
    }

    /// Switches to WebSocket, sends these bytes and waits until the other end goes away.
    pub(crate) fn switching(bytes: impl Into<Vec<u8>>) -> Self {
        Self(vec![Step::Switch, Step::Write(bytes.into()), Step::Never])
    }

    /// After the whole request, a reset.
    pub(crate) fn reset() -> Self {
        Self(vec![Step::ReadBody, Step::Reset])
    }

    /// After the whole request, so many bytes of the [`pattern`].
    pub(crate) fn pattern(length: u64) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        Self(vec![Step::ReadBody, Step::Write(head.into()), Step::Pattern(length)])
    }

    /// And then these bytes.
    pub(crate) fn then(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.step(Step::Write(bytes.into()))
    }

    /// And then reads the rest of the request.
    pub(crate) fn then_body(self) -> Self {
        self.step(Step::ReadBody)
    }

    /// And then waits.
    pub(crate) fn wait(self, duration: Duration) -> Self {
        self.step(Step::Wait(duration))
    }

    /// And then waits for [`Origin::release`].
    pub(crate) fn hold(self) -> Self {
        self.hold_until(1)
    }

    /// And then waits for so many of [`Origin::release`] in all.
    pub(crate) fn hold_until(self, count: usize) -> Self {
        self.step(Step::Hold(count))
    }

    /// And then waits for [`Origin::release`], before anything else is said.
    pub(crate) fn held(mut self) -> Self {
        self.0.insert(1, Step::Hold(1));
        self
    }

    /// And then closes.
    pub(crate) fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// And then says that this is the end, which in TLS is more than to close.
    pub(crate) fn end(self) -> Self {
        self.step(Step::End)
    }

    /// And then closes with a reset.
    pub(crate) fn then_reset(self) -> Self {
        self.step(Step::Reset)
    }

    /// And then so many bytes of the [`pattern`](super::pattern()).
    pub(crate) fn then_pattern(self, length: u64) -> Self {
        self.step(Step::Pattern(length))
    }

    /// And then waits until the other end goes away.
    pub(crate) fn then_never(self) -> Self {
        self.step(Step::Never)
    }

    fn step(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }
}
