//! The fields of a response as they stand in HTTP/1.1, passed on as they came. Most responses have nothing that their
//! client's side would have to look at, and to make a map of their fields and to write it out again costs as much as all
//! checks of a token that is known.

/// Whole lines, each with its end.
#[derive(Debug, Default)]
pub struct FieldLines {
    lines: Vec<u8>,
    /// Whether `Date` is among them.
    pub has_date: bool,
    /// Whether `Content-Length` is, once, and says how long the body will be.
    pub has_length: bool,
}

impl FieldLines {
    /// None yet, with room for so many bytes.
    pub fn with_capacity(size: usize) -> Self {
        Self { lines: Vec::with_capacity(size), ..Self::default() }
    }

    /// Adds one, of a name and a value that have no character which none may have (RFC 9110 §5.5, §5.6.2).
    pub fn push(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.lines.extend_from_slice(part);
        }
    }

    /// All of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.lines
    }
}
