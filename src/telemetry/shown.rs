//! Texts of others on a line of ours.

use std::borrow::Cow;

/// A text made fit for one line: at most `limit` bytes, and nothing that ends a line, a field or what a terminal obeys.
pub fn shown(text: &str, limit: usize) -> Cow<'_, str> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'"';
    let cut = text.get(..text.floor_char_boundary(limit)).unwrap_or_default();
    if cut.as_bytes().iter().all(is_plain) {
        return cut.into();
    }
    let mut shown = String::new();
    for escaped in cut.chars().map(char::escape_default) {
        if shown.len() + escaped.len() > limit {
            break;
        }
        shown.extend(escaped);
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_and_cannot_break_its_line() {
        let long = "/".repeat(33);
        let wide = "\u{1f512}".repeat(9);
        for (text, expected) in [
            ("/a/b'c%20", "/a/b'c%20"),
            ("/a\"b", "/a\\\"b"),
            ("/\u{1b}[2J\n", "/\\u{1b}[2J\\n"),
            ("/\u{202e}\u{e9}", "/\\u{202e}\\u{e9}"),
            ("two words", "two words"),
            (&long, &"/".repeat(32)),
            // Escapes count, and are whole.
            (&wide, &"\\u{1f512}".repeat(3)),
        ] {
            assert_eq!(shown(text, 32), expected);
        }
    }
}
