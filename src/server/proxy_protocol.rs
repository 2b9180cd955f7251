//! The PROXY protocol, v1 and v2: who a client is, in the words of the proxy before us.
//!
//! The header is read byte for byte: what follows it is TLS or HTTP, and stays in the socket. Its end is found here and
//! the whole of it parsed by `ppp`, whose own reading of half a header is not to be relied on: it takes the space before a
//! port that is still to come for an empty, wrong port.

// Whatever arrives, no index is out of bounds here and no number too large.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::io;
use std::net::IpAddr;

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// `PROXY UNKNOWN\r\n`, the shortest header there is.
const SHORTEST: usize = 15;
/// The longest header of v1 (§2.1).
const LONGEST_V1: usize = 107;
const V1_PREFIX: &[u8] = b"PROXY ";
/// Signature, version and command, family and protocol, length (§2.2).
const V2_FIXED: usize = 16;
/// Version 2, command LOCAL.
const V2_LOCAL: u8 = 0x20;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadHeader {
    #[error("it ended early: {0}")]
    Io(#[from] io::Error),
    #[error("no PROXY header")]
    None,
    #[error("a PROXY header of v1 that does not end")]
    TooLong,
    #[error("v1: {0}")]
    V1(#[from] v1::BinaryParseError),
    #[error("v2: {0}")]
    V2(#[from] v2::ParseError),
    #[error("v2: it is for datagrams")]
    Datagram,
}

/// Whom the header names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Source {
    /// Nobody: the connection is the proxy's own, or it does not know.
    Own,
    /// A client; one that came to the proxy over a unix socket has no address.
    Client(Option<IpAddr>),
}

/// Reads the header that the stream begins with, and nothing more.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Source, BadHeader> {
    let mut header = Vec::new();
    extend(&mut header, stream, SHORTEST).await?;
    if header.starts_with(V1_PREFIX) {
        read_v1(header, stream).await
    } else if header.starts_with(v2::PROTOCOL_PREFIX) {
        read_v2(header, stream).await
    } else {
        Err(BadHeader::None)
    }
}

async fn extend(header: &mut Vec<u8>, stream: &mut (impl AsyncRead + Unpin), count: usize) -> io::Result<()> {
    let start = header.len();
    header.resize(start.saturating_add(count), 0);
    stream.read_exact(header.get_mut(start..).unwrap_or_default()).await.map(drop)
}

async fn read_v1(mut header: Vec<u8>, stream: &mut (impl AsyncRead + Unpin)) -> Result<Source, BadHeader> {
    while !header.ends_with(b"\r\n") {
        let missing = least_missing(&header);
        if header.len().saturating_add(missing) > LONGEST_V1 {
            return Err(BadHeader::TooLong);
        }
        extend(&mut header, stream, missing).await?;
    }
    Ok(match v1::Header::try_from(header.as_slice())?.addresses {
        v1::Addresses::Unknown => Source::Own,
        v1::Addresses::Tcp4(addresses) => Source::Client(Some(addresses.source_address.into())),
        v1::Addresses::Tcp6(addresses) => Source::Client(Some(addresses.source_address.into())),
    })
}

/// How many bytes a header of v1 that begins so has at least to come: never more than there are.
fn least_missing(header: &[u8]) -> usize {
    if header.ends_with(b"\r") {
        return 1;
    }
    if header.starts_with(b"PROXY UNKNOWN") {
        // Anything may follow, up to the end of the line.
        return 2;
    }
    // Five spaces, each before at least one byte, and the end of the line.
    let spaces = memchr::memchr_iter(b' ', header).count();
    let words = 5_usize.saturating_sub(spaces).saturating_mul(2);
    words.saturating_add(usize::from(header.ends_with(b" "))).saturating_add(2)
}

async fn read_v2(mut header: Vec<u8>, stream: &mut (impl AsyncRead + Unpin)) -> Result<Source, BadHeader> {
    extend(&mut header, stream, V2_FIXED - SHORTEST).await?;
    let (command, length) = match header.get(12..) {
        Some(&[command, _, high, low]) => (command, u16::from_be_bytes([high, low])),
        _ => return Err(BadHeader::None),
    };
    // What cannot be a header is not waited for.
    if command >> 4 != V2_LOCAL >> 4 {
        return Err(v2::ParseError::Version(command & 0xf0).into());
    }
    extend(&mut header, stream, length.into()).await?;
    if command == V2_LOCAL {
        // Whatever the rest says (§2.2), even where `ppp` would not have it.
        return Ok(Source::Own);
    }
    let header = v2::Header::try_from(header.as_slice())?;
    if header.protocol == v2::Protocol::Datagram {
        return Err(BadHeader::Datagram);
    }
    Ok(match header.addresses {
        v2::Addresses::Unspecified => Source::Own,
        v2::Addresses::IPv4(addresses) => Source::Client(Some(addresses.source_address.into())),
        v2::Addresses::IPv6(addresses) => Source::Client(Some(addresses.source_address.into())),
        v2::Addresses::Unix(_) => Source::Client(None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &[u8] = b"\x16\x03\x01 or whatever follows";

    /// What a header says, when nothing of what follows it was touched.
    async fn said(header: &[u8]) -> Result<Source, String> {
        let stream = [header, REST].concat();
        let mut left = stream.as_slice();
        let source = read(&mut left).await.map_err(|error| error.to_string())?;
        assert_eq!(left, REST, "{header:?}");
        Ok(source)
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
    }

    #[tokio::test]
    async fn v1_is_read_to_its_last_byte_and_no_further() {
        let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n";
        for (header, source) in [
            ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", Some("0.0.0.0")),
            ("PROXY TCP4 203.0.113.9 198.51.100.1 65535 443\r\n", Some("203.0.113.9")),
            ("PROXY TCP6 :: ::1 1 1\r\n", Some("::")),
            ("PROXY TCP6 2001:db8::9 2001:db8::1 40000 443\r\n", Some("2001:db8::9")),
            (longest, Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN 203.0.113.9 198.51.100.1 1 2\r\n", None),
        ] {
            let source = source.map_or(Source::Own, |address| Source::Client(Some(address.parse().unwrap())));
            assert_eq!(said(header.as_bytes()).await, Ok(source), "{header}");
        }
    }

    #[tokio::test]
    async fn v2_is_read_to_its_last_byte_and_no_further() {
        let v4 = [203, 0, 113, 9, 198, 51, 100, 1, 1, 2, 3, 4];
        let v6: Vec<u8> = (0..36).collect();
        let large = [&v4[..], &[4, 0xff, 0xf0], &vec![0; 0xfff0]].concat();
        let client = |address: &str| Source::Client(Some(address.parse().unwrap()));
        for (header, source) in [
            (v2(0x21, 0x11, &v4), client("203.0.113.9")),
            (v2(0x21, 0x11, &large), client("203.0.113.9")),
            (v2(0x21, 0x21, &v6), client("1:203:405:607:809:a0b:c0d:e0f")),
            (v2(0x21, 0x31, &[0; 216]), Source::Client(None)),
            (v2(0x21, 0x00, &[]), Source::Own),
            (v2(0x21, 0x00, &v4), Source::Own),
            (v2(0x20, 0x00, &[]), Source::Own),
            (v2(0x20, 0x11, &v4), Source::Own),
            // Too short for its family, which nobody reads.
            (v2(0x20, 0x11, &[]), Source::Own),
            (v2(0x20, 0xff, &[1]), Source::Own),
        ] {
            assert_eq!(said(&header).await, Ok(source), "{header:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let v4 = [203, 0, 113, 9, 198, 51, 100, 1, 1, 2, 3, 4];
        let endless = ["PROXY UNKNOWN ", &"a".repeat(100)].concat();
        for header in [
            b"GET / HTTP/1.1\r\n\r\n",
            &b"PROXY TCP4 203.0.113.9\r\nGET / HTTP/1.1\r\nHost: gate.test\r\n\r\n"[..],
            b"PROXY TCP4 203.0.113.9 198.51.100.1 1 2 \r\n",
            b"PROXY TCP4 203.0.113.9 198.51.100.1 1 65536\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4  203.0.113.9 198.51.100.1 1\r\n",
            b"PROXY UDP4 203.0.113.9 198.51.100.1 1 2\r\n",
            b"proxy tcp4 203.0.113.9 198.51.100.1 1 2\r\n",
            b"PROXY TCP4 203.0.113.9\r198.51.100.1 1 2\n\r\n",
            endless.as_bytes(),
            &v2(0x11, 0x11, &v4),
            &v2(0x22, 0x11, &v4),
            &v2(0x21, 0x12, &v4),
            &v2(0x21, 0x41, &v4),
            &v2(0x21, 0x11, &v4[..11]),
            &v2(0x21, 0x21, &v4),
            &v2::PROTOCOL_PREFIX[..11],
        ] {
            assert!(said(header).await.is_err(), "{}", header.escape_ascii());
        }
    }
}
