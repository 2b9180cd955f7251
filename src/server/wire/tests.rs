//! What passes the reader, in whatever pieces it comes.

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn passed(wire: &mut Wire) -> Vec<u8> {
    let mut all = Vec::new();
    while wire.pass(7, |bytes| all.extend_from_slice(bytes)).unwrap() {}
    all
}

#[test]
fn a_head_passes_when_it_is_complete() {
    let mut wire = Wire::new(1024);
    for byte in GET {
        assert_eq!(passed(&mut wire), b"");
        wire.receive(&[*byte]).unwrap();
    }
    assert_eq!(passed(&mut wire), GET);
    assert!(wire.is_awaiting_answer());
}

#[test]
fn a_head_in_one_piece_passes_at_once_and_what_follows_it_does_not() {
    for (message, follows) in [
        (GET, GET),
        (&b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"[..], &b"hello"[..]),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
    ] {
        let mut wire = Wire::new(1024);
        let mut at_once = Vec::new();
        let bytes = [message, follows].concat();
        let pass = |bytes: &[u8]| at_once.extend_from_slice(bytes);
        assert_eq!(wire.receive_through(&bytes, message.len(), pass), Ok(true));
        assert_eq!(at_once, message);
        let expected = if follows == GET { &b""[..] } else { follows };
        assert_eq!(passed(&mut wire), expected);
        assert!(wire.is_awaiting_answer());
        wire.answered().unwrap();
        assert_eq!(passed(&mut wire), if follows == GET { GET } else { b"" });
    }
}

#[test]
fn a_head_without_room_for_it_is_held() {
    let mut wire = Wire::new(1024);
    assert_eq!(wire.receive_through(GET, GET.len() - 1, |_| panic!("no room")), Ok(false));
    assert_eq!(passed(&mut wire), GET);
    wire.answered().unwrap();
    let denial = wire.receive_through(b"GET / HTTP/1.1\r\n\r\n", 1024, |_| panic!("no Host")).unwrap_err();
    assert_eq!(denial.row().reason, "ambiguous_request");
    assert_eq!(passed(&mut wire), HARMLESS_HEAD);
}

#[test]
fn a_pipelined_request_waits_for_the_answer_to_the_first() {
    let mut wire = Wire::new(1024);
    wire.receive(&GET.repeat(2)).unwrap();
    assert_eq!(passed(&mut wire), GET);
    wire.answered().unwrap();
    assert_eq!(passed(&mut wire), GET);
    wire.answered().unwrap();
    assert_eq!(passed(&mut wire), b"");
}

#[test]
fn a_body_passes_and_what_follows_it_does_not() {
    let bodies: [&[u8]; 2] = [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ];
    for message in bodies {
        let mut whole = Wire::new(1024);
        whole.receive(&[message, GET].concat()).unwrap();
        assert_eq!(passed(&mut whole), message);
        let mut pieces = Wire::new(1024);
        let mut all = Vec::new();
        for byte in message {
            pieces.receive(&[*byte]).unwrap();
            all.append(&mut passed(&mut pieces));
        }
        assert_eq!(all, message);
        assert!(whole.is_awaiting_answer() && pieces.is_awaiting_answer());
    }
}

#[test]
fn a_refused_head_passes_as_a_harmless_one_and_nothing_after_it() {
    let mut wire = Wire::new(1024);
    let denial = wire.receive(b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\nGET /smuggled HTTP/1.1\r\n");
    assert_eq!(denial.unwrap_err().row().reason, "ambiguous_request");
    assert_eq!(passed(&mut wire), HARMLESS_HEAD);
    wire.receive(GET).unwrap();
    wire.answered().unwrap();
    assert_eq!(passed(&mut wire), b"");
}

#[test]
fn an_answer_before_the_end_of_the_body_lets_the_next_head_come_after_it() {
    let mut wire = Wire::new(1024);
    wire.receive(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe").unwrap();
    passed(&mut wire);
    wire.answered().unwrap();
    wire.receive(b"llo").unwrap();
    assert_eq!(passed(&mut wire), b"llo");
    wire.go_on().unwrap();
    wire.receive(GET).unwrap();
    assert_eq!(passed(&mut wire), GET);
}

#[test]
fn a_body_that_is_answered_before_it_is_passed_on_is_not_read_as_a_head() {
    let head = |length: usize| format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    for body in [&GET.repeat(2)[..], b"neither a head nor the start of one\n"] {
        let mut wire = Wire::new(1024);
        wire.receive(&[head(body.len()).as_bytes(), body, GET].concat()).unwrap();
        // hyper has taken the head and a few bytes more.
        wire.pass(1024, |_| {}).unwrap();
        wire.pass(3, |_| {}).unwrap();
        wire.answered().unwrap();
        assert_eq!(passed(&mut wire), &body[3..]);
        wire.go_on().unwrap();
        assert_eq!(passed(&mut wire), GET);
        assert!(wire.is_awaiting_answer());
    }
}

#[test]
fn one_empty_line_before_a_head_is_forgiven_in_whatever_pieces() {
    for pieces in [&[b"\r\n".as_slice(), GET][..], &[b"\r", b"\n", GET], &[&[b"\r\n", GET].concat()]] {
        let mut wire = Wire::new(1024);
        for piece in pieces {
            wire.receive(piece).unwrap();
        }
        assert_eq!(passed(&mut wire), GET, "{pieces:?}");
    }
}

#[test]
fn what_comes_behind_a_switch_passes_as_it_is() {
    let mut wire = Wire::new(1024);
    wire.receive(&[GET, b"\x81\x85GET / "].concat()).unwrap();
    assert_eq!(passed(&mut wire), GET);
    wire.switch();
    wire.answered().unwrap();
    assert_eq!(passed(&mut wire), b"\x81\x85GET / ");
    assert!(!wire.is_between() && !wire.is_in_head() && !wire.is_awaiting_answer());
}

#[test]
fn two_empty_lines_before_a_head_are_refused_in_whatever_pieces() {
    for size in [1, 2, 3, 64] {
        let mut wire = Wire::new(1024);
        let refused = [b"\r\n\r\n", GET].concat().chunks(size).any(|piece| wire.receive(piece).is_err());
        assert!(refused, "{size}");
    }
}

#[test]
fn a_malformed_chunk_is_told() {
    let mut wire = Wire::new(1024);
    wire.receive(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    passed(&mut wire);
    wire.receive(b"zz\r\n").unwrap();
    assert_eq!(wire.pass(100, |_| {}), Err(MalformedChunk));
}
