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
    /// Adds one, of a name and a value that have no character which none may have (RFC 9110 §5.5, §5.6.2).
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        for part in [name, b": ", value, b"\r\n"] {
            self.lines.extend_from_slice(part);
        }
    }

    /// Adds some that are whole.
    pub fn push_lines(&mut self, lines: &[u8]) {
        self.lines.extend_from_slice(lines);
    }

    /// All of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.lines
    }
}

/// Whether a name may have this character (RFC 9110 §5.6.2).
pub fn is_tchar(byte: u8) -> bool {
    TCHAR.get(usize::from(byte)).copied().unwrap_or_default()
}

#[cfg_attr(not(test), expect(clippy::indexing_slicing, reason = "whatever is wrong here does not compile"))]
const TCHAR: [bool; 256] = {
    let mut table = [false; 256];
    let symbols = b"!#$%&'*+-.^_`|~";
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let character = byte as u8;
        table[byte] = character.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < symbols.len() {
        table[symbols[index] as usize] = true;
        index += 1;
    }
    table
};
