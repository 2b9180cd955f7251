//! Heads of responses that are refused: the log names the rule that was broken, and nothing of what came.

use crate::faults::upstream::logged;
use crate::support::{Binary, Http2Origin, Http2Reply, Issuer, Origin, Reply, client};

/// What the origin sends, and what the log says.
#[rustfmt::skip]
const HEADS: [(&str, &str); 19] = [
    ("rubbish secret\r\n\r\n", "it does not begin with HTTP/1.1 or HTTP/1.0"),
    ("HTTP/2 200 OK\r\nA: secret\r\n\r\n", "it does not begin with HTTP/1.1 or HTTP/1.0"),
    ("HTTP/1.1 2x0 secret\r\n\r\n", "its status is not three digits from 100 to 999"),
    ("HTTP/1.1 099 secret\r\n\r\n", "its status is not three digits from 100 to 999"),
    ("HTTP/1.1 2000 secret\r\n\r\n", "its status is not three digits from 100 to 999"),
    ("HTTP/1.1 200 sec\0ret\r\n\r\n", "its reason phrase has a control character"),
    ("HTTP/1.1 200 OK\r\nsecret\r\n\r\n", "a field's name is not a token with a colon right behind it"),
    ("HTTP/1.1 200 OK\r\nA : secret\r\n\r\n", "a field's name is not a token with a colon right behind it"),
    ("HTTP/1.1 200 OK\r\nsec(ret: b\r\n\r\n", "a field's name is not a token with a colon right behind it"),
    ("HTTP/1.1 200 OK\r\nA: b\r\n secret\r\n\r\n", "a field's name is not a token with a colon right behind it"),
    ("HTTP/1.1 200 OK\r\nA: sec\0ret\r\n\r\n", "a field's value has a control character"),
    ("HTTP/1.1 200 OK\r\nA: sec\rret\r\n\r\n", "a field's value has a control character"),
    ("HTTP/1.1 200 OK\r\nContent-Length: secret\r\n\r\n", "its length is not one plain number below 2^63"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n", "its length is not one plain number below 2^63"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "its length is not one plain number below 2^63"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", "it has two lengths"),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0 has no transfer codings"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: secret\r\n\r\n", "its transfer coding is not chunked alone"),
    ("HTTP/1.1 103 Early\r\nA: sec\0ret\r\n\r\n", "a field's value has a control character"),
];

#[tokio::test]
async fn the_rule_that_a_head_broke_stands_in_the_log() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url(), "--skip-auth-route", "/*"]);
    let addr = binary.addr().await;
    for (number, (bytes, rule)) in HEADS.iter().enumerate() {
        let path = format!("/{number}");
        origin.reply_at(&path, Reply::raw(*bytes));
        let response = client::get(addr, &path, None).await;
        assert_eq!((response.status, &*response.denial().reason), (502, "upstream_protocol"), "{bytes:?}");
        let line = logged(&binary, &path).await;
        let detail = line["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(rule), "{bytes:?}: {detail}");
        assert!(!line.to_string().contains("secret") && !response.text().contains("secret"), "{bytes:?}: {line}");
    }
}

/// A head with so many fields, whose lines are so many bytes in all.
fn head(fields: usize, size: usize) -> String {
    let lines: Vec<_> = (1..fields).map(|number| format!("X-{number}: v\r\n")).collect();
    let head = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\n", lines.concat());
    let padding = size.saturating_sub(head.len());
    head.replacen(": v", &format!(": {}", "v".repeat(padding + 1)), 1) + "ok"
}

#[tokio::test]
async fn a_head_has_at_most_1000_fields_and_64_kib_and_the_log_says_which_was_too_much() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url(), "--skip-auth-route", "/*"]);
    let addr = binary.addr().await;
    let folded = |fields| head(fields, 0).replacen(": v", ": a\tb", 1);
    let interim = |fields, size| {
        head(fields, size).replacen("200 OK", "103 Early Hints", 1).replacen("Content-Length: 2\r\n\r\nok", "\r\n", 1)
    };
    for (path, bytes, limit) in [
        ("/100", head(100, 0), None),
        ("/101", head(101, 0), None),
        ("/1000", head(1000, 0), None),
        ("/1001", head(1001, 0), Some("more than 1000 fields")),
        ("/1000-tab", folded(1000), None),
        ("/1001-tab", folded(1001), Some("more than 1000 fields")),
        ("/2000", head(2000, 0), Some("more than 1000 fields")),
        ("/interim-1001", interim(1002, 0), Some("more than 1000 fields")),
        ("/64kib", head(3, 64 * 1024), None),
        ("/64kib-1000", head(1000, 64 * 1024), None),
        ("/65537", head(3, 64 * 1024 + 1), Some("more than 64 KiB")),
        ("/70000-tab", head(3, 70_000).replacen(": v", ": a\tb", 1), Some("more than 64 KiB")),
        ("/endless", head(3, 80_000).replace("\r\n\r\n", "\r\n"), Some("more than 64 KiB")),
        ("/interim-70000", interim(3, 70_000), Some("more than 64 KiB")),
    ] {
        origin.reply_at(path, Reply::raw(bytes));
        let response = client::get(addr, path, None).await;
        let Some(limit) = limit else {
            assert_eq!((response.status, &*response.text()), (200, "ok"), "{path}");
            continue;
        };
        assert_eq!((response.status, &*response.denial().reason), (502, "upstream_protocol"), "{path}");
        let line = logged(&binary, path).await;
        assert!(line["detail"].as_str().is_some_and(|detail| detail.contains(limit)), "{path}: {line}");
    }
}

#[tokio::test]
async fn the_same_limits_hold_for_an_origin_with_http2() {
    let (issuer, origin) = (Issuer::start(), Http2Origin::start());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url(), "--skip-auth-route", "/*"]);
    let addr = binary.addr().await;
    let names: Vec<_> = (0..1001).map(|number| format!("x-{number}")).collect();
    let large = "v".repeat(70_000);
    let many = |count: usize| names[..count].iter().map(|name| (name.as_str(), "v")).collect::<Vec<_>>();
    for (path, fields, limit) in [
        ("/1000", many(1000), None),
        ("/1001", many(1001), Some("more than 1000 fields")),
        ("/large", vec![("x", &*large)], Some("64 KiB")),
    ] {
        origin.reply(Http2Reply::new(200, &fields, "ok"));
        let response = client::get(addr, path, None).await;
        let Some(limit) = limit else {
            assert_eq!((response.status, &*response.text()), (200, "ok"), "{path}");
            continue;
        };
        assert_eq!((response.status, &*response.denial().reason), (502, "upstream_protocol"), "{path}");
        let line = logged(&binary, path).await;
        assert!(line["detail"].as_str().is_some_and(|detail| detail.contains(limit)), "{path}: {line}");
    }
}
