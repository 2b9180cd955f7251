//! Any bytes as an origin's answer to GET or HEAD: in whatever pieces they come, the client gets the same, and what it
//! gets is what another reader of the head and a plain reader of the body find.
#![no_main]

use claimgate::forward::fuzzing::{Answer, answer};
use http::{HeaderMap, StatusCode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((piece, bytes)) = data.split_first() else { return };
    let (answers_head, size) = (piece % 2 == 1, usize::from(piece / 2 % 32) + 1);
    let whole = answer(bytes, bytes.len().max(1), answers_head);
    assert_eq!(whole, answer(bytes, size, answers_head));
    assert_eq!(whole, answer(bytes, 1, answers_head));
    let Some((status, headers, _)) = &whole.head else { return };
    let Some((fields, rest)) = read(bytes, *status) else { panic!("another reader does not read it") };
    judge_fields(headers, &fields);
    judge_body(&whole, &fields, rest, answers_head);
});

type Field = (String, Vec<u8>);

/// The fields of the last head, and what is behind it.
fn read(mut bytes: &[u8], expected: StatusCode) -> Option<(Vec<Field>, &[u8])> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut parsed = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = parsed.parse(bytes).ok()? else { return None };
        bytes = &bytes[length..];
        if !(100..200).contains(&parsed.code?) {
            assert_eq!(parsed.code, Some(expected.as_u16()));
            let fields = parsed.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()));
            return Some((fields.collect(), bytes));
        }
    }
}

/// Nothing is made up, and the order of each name's values is theirs.
fn judge_fields(headers: &HeaderMap, fields: &[Field]) {
    for name in headers.keys() {
        let ours: Vec<_> = headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
        let theirs = fields.iter().filter(|(theirs, _)| theirs == name.as_str());
        if name == "trailer" {
            continue;
        }
        assert_eq!(ours, theirs.map(|(_, value)| &**value).collect::<Vec<_>>(), "{name}");
        assert!(!matches!(name.as_str(), "connection" | "keep-alive" | "transfer-encoding" | "upgrade"), "{name}");
    }
}

fn judge_body(whole: &Answer, fields: &[Field], rest: &[u8], answers_head: bool) {
    let all = |name: &str| fields.iter().filter(|field| field.0 == name).map(|field| &*field.1).collect::<Vec<_>>();
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "two framings");
    let status = whole.head.as_ref().map(|(status, ..)| status.as_u16());
    let expected = if answers_head || matches!(status, Some(204 | 304)) {
        Some((vec![], rest))
    } else if let [length] = lengths[..] {
        let length: u64 = std::str::from_utf8(length).unwrap().parse().unwrap();
        let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
        length.map(|length| (rest[..length].to_vec(), &rest[length..]))
    } else if codings.is_empty() {
        assert!(!whole.is_used_again, "only the end ends it");
        Some((rest.to_vec(), &rest[..0]))
    } else {
        unchunked(rest)
    };
    match expected {
        Some((body, behind)) => {
            assert!(whole.is_whole);
            assert_eq!((&*whole.body, whole.left), (&*body, behind.len()));
            let says_close = all("connection").iter().any(|value| value.eq_ignore_ascii_case(b"close"));
            assert!(!whole.is_used_again || (behind.is_empty() && !says_close));
        }
        None => assert!(!whole.is_whole && !whole.is_used_again),
    }
}

/// The data, and what is behind the last line; `None` where there is no end.
fn unchunked(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut data = Vec::new();
    loop {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let line = bytes[..end].strip_suffix(b"\r").filter(|line| !line.contains(&b'\r'))?;
        let digits = line.split(|byte| *byte == b';').next()?;
        let length = digits.iter().rposition(|byte| !matches!(byte, b' ' | b'\t'))?;
        let digits = std::str::from_utf8(&digits[..=length])
            .ok()
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        let size = u64::from_str_radix(digits, 16).ok()?;
        bytes = &bytes[end + 1..];
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).ok().filter(|size| *size <= bytes.len())?;
        data.extend_from_slice(&bytes[..size]);
        bytes = bytes[size..].strip_prefix(b"\r\n")?;
    }
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let httparse::Status::Complete((length, _)) = httparse::parse_headers(bytes, &mut fields).ok()? else {
        return None;
    };
    let lines = bytes[..length].split_inclusive(|byte| *byte == b'\n');
    lines.clone().all(|line| line.ends_with(b"\r\n")).then(|| (data, &bytes[length..]))
}
