//! What is taken out of the bytes of a connection, in whatever pieces they come.

use std::rc::Rc;

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// The path of the next request and its body, which may not have come to its end.
fn taken(wire: &mut Wire) -> Option<(String, Vec<u8>)> {
    let head = wire.take_head(&mut Spare::default()).unwrap()?;
    Some((head.parts.uri.path().to_owned(), body(wire)))
}

fn body(wire: &mut Wire) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(frame) = wire.next_frame().unwrap() {
        all.extend_from_slice(frame.data_ref().unwrap());
    }
    all
}

/// What is taken of [`GET`].
fn get() -> Option<(String, Vec<u8>)> {
    let mut wire = Wire::new(1024);
    wire.receive(GET);
    let get = taken(&mut wire);
    assert_eq!(get, Some(("/".to_owned(), vec![])));
    get
}

fn reason(taken: Result<Option<Head>, Denial>) -> &'static str {
    taken.unwrap_err().row().reason
}

#[test]
fn a_head_is_taken_when_it_is_complete() {
    let mut wire = Wire::new(1024);
    for byte in GET {
        assert_eq!((wire.has_head(), taken(&mut wire)), (Ok(false), None));
        wire.receive(&[*byte]);
    }
    assert_eq!((wire.has_head(), taken(&mut wire)), (Ok(true), get()));
    assert!(wire.is_awaiting_answer());
}

#[test]
fn a_head_in_one_piece_is_taken_at_once_and_what_follows_it_is_not() {
    let sized = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
    let chunked = b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (message, follows, expected, is_get) in [
        (GET, GET, "", true),
        (&sized[..], &b"hello\r\n\r\n"[..], "hello\r\n\r\n", false),
        (chunked, b"2\r\nab\r\n0\r\n\r\n", "ab", false),
    ] {
        let mut wire = Wire::new(1024);
        wire.receive(GET);
        assert_eq!(taken(&mut wire), get());
        assert!(wire.go_on());
        let head = wire.receive_head(&[message, follows].concat(), &mut Spare::default()).unwrap().unwrap();
        assert_eq!(head.parts.method == "GET", is_get);
        assert_eq!(body(&mut wire), expected.as_bytes());
        assert!(wire.is_awaiting_answer() && wire.go_on());
        assert_eq!(taken(&mut wire), if is_get { get() } else { None });
    }
}

#[test]
fn a_head_that_is_not_whole_or_too_large_is_held() {
    let mut wire = Wire::new(GET.len());
    let spare = &mut Spare::default();
    wire.receive(GET);
    assert_eq!(taken(&mut wire), get());
    assert!(wire.go_on());
    assert!(wire.receive_head(&GET[..9], spare).unwrap().is_none() && wire.is_in_head());
    assert!(wire.receive_head(&GET[9..], spare).unwrap().is_some());
    assert!(wire.go_on());
    let larger = [&GET[..GET.len() - 4], b"x\r\n\r\n"].concat();
    assert_eq!(reason(wire.receive_head(&larger, spare)), "headers_too_large");
    assert_eq!(taken(&mut wire), None);
}

#[test]
fn a_head_that_is_done_with_is_lent_and_holds_nothing_of_what_was_before() {
    let mut wire = Wire::new(1024);
    wire.receive(b"POST /a?b HTTP/1.0\r\nHost: b.test\r\nX: y\r\n\r\n");
    let mut spare = Spare::default();
    let mut parts = wire.take_head(&mut spare).unwrap().unwrap().parts;
    assert!(wire.go_on());
    Rc::get_mut(&mut parts).unwrap().extensions.insert(1);
    let (place, looked_at) = (Rc::as_ptr(&parts), Rc::clone(&parts));
    spare.put(parts);
    assert!(Rc::as_ptr(&spare.take()) != place, "somebody still looks at it");
    let text = looked_at.headers["x"].as_bytes().as_ptr();
    spare.put(looked_at);
    wire.receive(GET);
    let again = wire.take_head(&mut spare).unwrap().unwrap().parts;
    assert_eq!(Rc::as_ptr(&again), place);
    let host = again.headers["host"].as_bytes().as_ptr();
    // Behind `POST /a?b HTTP/1.0`, `Host: b.test` and `X: `, and behind `GET / HTTP/1.1` and `Host: `.
    assert_eq!(text.addr().wrapping_sub(host.addr()), 37 - 22, "its text stands elsewhere");
    wire = Wire::new(1024);
    wire.receive(GET);
    let fresh = wire.take_head(&mut Spare::default()).unwrap().unwrap().parts;
    assert_eq!(format!("{again:?}"), format!("{fresh:?}"));
}

#[test]
fn a_pipelined_request_waits_for_the_answer_to_the_first() {
    let mut wire = Wire::new(1024);
    wire.receive(&GET.repeat(2));
    assert_eq!((taken(&mut wire), taken(&mut wire)), (get(), None));
    assert!(wire.go_on());
    assert_eq!((taken(&mut wire), taken(&mut wire)), (get(), None));
    assert!(wire.go_on() && !wire.go_on() && !wire.is_in_head());
}

#[test]
fn a_body_is_taken_and_what_follows_it_is_not() {
    let messages: [(&[u8], &str); 2] = [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world", "hello world"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc"),
    ];
    for (message, expected) in messages {
        let mut whole = Wire::new(1024);
        whole.receive(&[message, GET].concat());
        assert_eq!(taken(&mut whole), Some(("/".to_owned(), expected.into())));
        let (mut pieces, mut all, mut heads) = (Wire::new(1024), Vec::new(), 0);
        for byte in message {
            pieces.receive(&[*byte]);
            if let Some((_, begun)) = taken(&mut pieces) {
                heads += 1;
                all.extend(begun);
            }
            all.extend(body(&mut pieces));
        }
        assert_eq!((all, heads), (expected.into(), 1));
        assert!(whole.is_awaiting_answer() && pieces.is_awaiting_answer());
    }
}

#[test]
fn trailers_are_told_behind_the_last_chunk() {
    let mut wire = Wire::new(1024);
    wire.receive(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n");
    assert!(wire.take_head(&mut Spare::default()).unwrap().is_some() && !wire.is_awaiting_answer());
    let trailers = wire.next_frame().unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["x-sum"], "1");
    assert!(wire.is_awaiting_answer() && wire.next_frame().unwrap().is_none());
}

#[test]
fn nothing_is_read_behind_a_refused_head() {
    let mut wire = Wire::new(1024);
    wire.receive(b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\nGET /smuggled HTTP/1.1\r\n");
    assert_eq!(reason(wire.take_head(&mut Spare::default())), "ambiguous_request");
    wire.receive(GET);
    assert!(!wire.has_held() && !wire.go_on());
    assert_eq!(taken(&mut wire), None);
    assert!(wire.receive_head(GET, &mut Spare::default()).unwrap().is_none());
}

#[test]
fn an_answer_before_the_end_of_the_body_does_not_end_it() {
    let head = |length: usize| format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    for content in [&GET.repeat(2)[..], b"neither a head nor the start of one\n"] {
        let mut wire = Wire::new(1024);
        wire.receive(&[head(content.len()).as_bytes(), &content[..3]].concat());
        assert_eq!(taken(&mut wire), Some(("/".to_owned(), content[..3].into())));
        assert!(!wire.go_on());
        wire.receive(&[&content[3..], GET].concat());
        assert_eq!((taken(&mut wire), wire.direct()), (None, None));
        assert_eq!(body(&mut wire), &content[3..]);
        assert!(wire.go_on());
        assert_eq!(taken(&mut wire), get());
    }
}

#[test]
fn what_goes_past_it_counts() {
    let mut wire = Wire::new(1024);
    wire.receive(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nh");
    assert!(wire.take_head(&mut Spare::default()).unwrap().is_some());
    assert_eq!((wire.direct(), wire.size_hint().exact()), (None, Some(5)));
    assert_eq!(body(&mut wire), b"h");
    assert_eq!(wire.direct(), Some(4));
    wire.went_direct(3);
    assert_eq!((wire.direct(), wire.is_awaiting_answer()), (Some(1), false));
    wire.went_direct(1);
    assert_eq!((wire.direct(), wire.is_awaiting_answer()), (None, true));
}

#[test]
fn one_empty_line_before_a_head_is_forgiven_in_whatever_pieces() {
    for pieces in [&[b"\r\n".as_slice(), GET][..], &[b"\r", b"\n", GET], &[&[b"\r\n", GET].concat()]] {
        let mut wire = Wire::new(1024);
        for piece in pieces {
            assert_eq!(taken(&mut wire), None);
            wire.receive(piece);
        }
        assert_eq!(taken(&mut wire), get(), "{pieces:?}");
        assert!(wire.go_on());
        let mut last = None;
        for piece in pieces {
            last = wire.receive_head(piece, &mut Spare::default()).unwrap();
        }
        assert!(last.is_some(), "{pieces:?}");
    }
}

#[test]
fn two_empty_lines_before_a_head_are_refused_in_whatever_pieces() {
    for size in [1, 2, 3, 64] {
        let mut wire = Wire::new(1024);
        let refused = [b"\r\n\r\n", GET].concat().chunks(size).any(|piece| {
            wire.receive(piece);
            wire.has_head().and_then(|_| wire.take_head(&mut Spare::default())).is_err()
        });
        assert!(refused, "{size}");
    }
}

#[test]
fn the_preface_of_http_2_is_told_at_first_and_only_then() {
    for size in [1, 5, 64] {
        let mut wire = Wire::new(1024);
        for piece in PREFACE.chunks(size) {
            assert!(!wire.is_http2());
            wire.receive(piece);
            wire.has_head().unwrap();
        }
        assert!(wire.is_http2() && wire.has_head() == Ok(true));
        wire.give(100, |held| assert_eq!(held, PREFACE));
    }
    let mut wire = Wire::new(1024);
    wire.receive(GET);
    assert_eq!(taken(&mut wire), get());
    assert!(wire.go_on());
    assert_eq!(reason(wire.receive_head(PREFACE, &mut Spare::default())), "malformed_request");
}

#[test]
fn what_comes_behind_a_switch_is_given_as_it_is() {
    let mut wire = Wire::new(1024);
    wire.receive(&[GET, b"\x81\x85GET / "].concat());
    assert_eq!(taken(&mut wire), get());
    wire.switch();
    assert!(!wire.go_on() && !wire.is_between() && !wire.is_in_head() && !wire.is_awaiting_answer());
    wire.give(3, |held| assert_eq!(held, b"\x81\x85G"));
    wire.give(100, |held| assert_eq!(held, b"ET / "));
    assert!(!wire.has_held());
}

#[test]
fn a_malformed_chunk_is_told() {
    let mut wire = Wire::new(1024);
    wire.receive(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(taken(&mut wire), Some(("/".to_owned(), vec![])));
    wire.receive(b"zz\r\n");
    assert!(wire.next_frame().is_err());
}
