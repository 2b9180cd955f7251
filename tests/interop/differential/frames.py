"""Streams of HTTP/2 frames of one client (RFC 9113), in the form of `streams.py`: what would become another request, or none,
where somebody writes it down as HTTP/1.1 without looking.

Of several requests on one connection the origin may see the second one first.
"""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS, PADDED = 0x1, 0x4, 0x8


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def string(octets):
    """A string literal without Huffman coding (RFC 7541 §5.2)."""
    length, prefix = len(octets), bytearray()
    if length < 127:
        prefix.append(length)
    else:
        prefix.append(127)
        length -= 127
        while length > 127:
            prefix.append(length % 128 + 128)
            length //= 128
        prefix.append(length)
    return bytes(prefix) + octets


def block(fields):
    """Each field as a literal without indexing (RFC 7541 §6.2.2)."""
    return b"".join(b"\0" + string(name) + string(value) for name, value in fields)


def frames(token):
    """With this value of `authorization`."""
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\nAuthorization: " + token + b"\r\n\r\n"
    authorization = (b"authorization", token)

    def pseudo(method=b"GET", path=b"/first", authority=b"x", scheme=b"http"):
        return [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path)]

    def head(fields, stream=1, flags=END_STREAM):
        return frame(HEADERS, flags | END_HEADERS, stream, block(fields))

    def data(octets, stream=1, flags=END_STREAM):
        return frame(DATA, flags, stream, octets)

    def get(fields=(), **kwargs):
        return head(pseudo(**kwargs) + [authorization, *fields])

    def post(fields=(), body=b"", **kwargs):
        return head(pseudo(method=b"POST", **kwargs) + [authorization, *fields], flags=0) + data(body)

    def trailers(fields, flags=END_STREAM):
        start = head(pseudo(method=b"POST") + [authorization, (b"trailer", b"x-a")], flags=0)
        return start + data(b"ok", flags=0) + head(fields, flags=flags)

    length = (b"content-length", b"%d" % len(smuggled))
    chunks = b"0\r\n\r\n" + smuggled

    def behind(line_end, name=b"x", value=b"y"):
        """A value that brings along another field."""
        return (name, value + line_end + b"Content-Length: %d" % len(smuggled))

    refused = [
        ("no token", head(pseudo())),
        ("two tokens", get([authorization])),
        ("two tokens in one", get([(b"authorization", token + b", " + token)])),
        ("H2.TE", post([(b"transfer-encoding", b"chunked")], chunks)),
        ("H2.TE, with an underscore", post([(b"transfer_encoding", b"chunked")], chunks)),
        ("H2.TE, in capitals", post([(b"Transfer-Encoding", b"chunked")], chunks)),
        ("H2.TE, within a name", post([(b"x: y\r\ntransfer-encoding", b"chunked")], chunks)),
        ("H2.TE, a colon in the name", post([(b"transfer-encoding: chunked\r\nx", b"y")], chunks)),
        ("H2.TE, a space in the name", post([(b"transfer-encoding ", b"chunked")], chunks)),
        ("H2.CL, no number", post([(b"content-length", b"zz")], smuggled)),
        ("H2.CL, a plus", post([(b"content-length", b"+%d" % len(smuggled))], smuggled)),
        ("H2.CL, zeros", post([(b"content-length", b"0%d" % len(smuggled))], smuggled)),
        ("H2.CL, a list", post([(b"content-length", b"0, %d" % len(smuggled))], smuggled)),
        ("H2.CL, two", post([length, (b"content-length", b"0")], smuggled)),
        ("H2.CL, alike", post([length, length], smuggled)),
        ("H2.CL, an underscore", post([(b"content_length", b"0")], smuggled)),
        ("CRLF in a value", get([behind(b"\r\n")])),
        ("LF in a value", get([behind(b"\n")])),
        ("CR in a value", get([behind(b"\r")])),
        ("NUL in a value", get([behind(b"\0")])),
        ("a whole request in a value", get([(b"x", b"y\r\n\r\n" + smuggled)])),
        ("a whole request in a name", get([(b"x: y\r\n\r\n" + smuggled + b"z", b"y")])),
        ("an empty name", get([(b"", b"y")])),
        ("CRLF in the path", post(path=b"/first HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX: y", body=chunks)),
        ("a whole request in the path", get(path=b"/first HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled)),
        ("a space in the path", get(path=b"/first HTTP/1.0")),
        ("a tab in the path", get(path=b"/first\tx")),
        ("an empty path", get(path=b"")),
        ("a path that is none", get(path=b"first")),
        ("a URL for a path", get(path=b"http://y/first")),
        ("an asterisk", get(path=b"*")),
        ("CRLF in the method", get(method=b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\nGET")),
        ("a space in the method", get(method=b"GET /smuggled")),
        ("an empty method", get(method=b"")),
        ("CRLF in the authority", get(authority=b"x\r\nContent-Length: %d" % len(smuggled))),
        ("a space in the authority", get(authority=b"x y")),
        ("a path in the authority", get(authority=b"x/smuggled")),
        ("user information", get(authority=b"y@x")),
        ("CRLF in the scheme", get(scheme=b"http\r\nx: y")),
        ("a URL for a scheme", get(scheme=b"http://y/smuggled?")),
        ("another Host", get([(b"host", b"y")])),
        ("two Hosts", get([(b"host", b"x"), (b"host", b"x")])),
        ("two paths", head([*pseudo(), (b":path", b"/smuggled"), authorization])),
        ("two methods", head([*pseudo(), (b":method", b"POST"), authorization])),
        ("no path", head([*pseudo()[:3], authorization])),
        ("no method", head([*pseudo()[1:], authorization])),
        ("no authority", head([*pseudo()[:2], pseudo()[3], authorization])),
        ("a late path", head([*pseudo()[:3], authorization, (b":path", b"/first")])),
        ("an unknown pseudo-header field", head([*pseudo(), (b":smuggled", b"1"), authorization])),
        ("an upgrade", get([(b"connection", b"upgrade"), (b"upgrade", b"h2c")])),
        ("connection", get([(b"connection", b"x-jwt-claims")])),
        ("keep-alive", get([(b"keep-alive", b"1")])),
        ("proxy-connection", get([(b"proxy-connection", b"close")])),
        ("te", get([(b"te", b"gzip")])),
        ("a tunnel", head([(b":method", b"CONNECT"), (b":authority", b"x:80"), authorization], flags=0) + data(smuggled)),
        ("HTTP/1.1 behind the preface", smuggled),
        ("a list of fields that has no end", frame(HEADERS, END_STREAM, 1, block([*pseudo(), authorization]))),
        ("a body on the connection", data(smuggled, stream=0)),
        ("a body before its request", data(smuggled)),
        ("a request of the server's", head([*pseudo(), authorization], stream=2)),
    ]

    cut = [
        ("a longer body than said", post([(b"content-length", b"0")], smuggled)),
        ("a byte more than said", post([(b"content-length", b"%d" % (len(smuggled) - 1))], smuggled)),
        ("a shorter body than said", post([(b"content-length", b"999")], smuggled)),
        ("a length and no body", get([length])),
        ("a body that is reset", head([*pseudo(b"POST"), authorization], flags=0) + frame(RST_STREAM, 0, 1, b"\0\0\0\x08")),
        (
            "a body that is reset without an error",
            head([*pseudo(b"POST"), authorization, length], flags=0) + frame(RST_STREAM, 0, 1, b"\0\0\0\0"),
        ),
        ("a body behind the end", get() + data(smuggled)),
        ("a second head behind the end", get() + get(path=b"/smuggled")),
        ("a path in trailers", trailers([(b":path", b"/smuggled")])),
        ("CRLF in trailers", trailers([(b"x-a", b"b\r\n\r\n" + smuggled)])),
        ("trailers that are no end", trailers([(b"x-a", b"b")], flags=0) + data(smuggled)),
        ("more padding than there is", head([*pseudo(b"POST"), authorization], flags=0) + frame(DATA, PADDED | 1, 1, b"\xff")),
    ]

    usual = [*pseudo(), authorization]
    sound = [
        ("one request", get(), ["/first"]),
        ("two requests", get() + head([*pseudo(path=b"/second"), authorization], stream=3), ["/first", "/second"]),
        ("a refused one and another", head(pseudo()) + head([*pseudo(path=b"/second"), authorization], stream=3), ["/second"]),
        ("a body that looks like a request", post([length], smuggled), ["/first"]),
        ("the same of no said length", post(body=smuggled), ["/first"]),
        ("a body of GET", head([*pseudo(), authorization], flags=0) + data(smuggled), ["/first"]),
        ("a body that looks like chunks", post(body=chunks), ["/first"]),
        ("a body in pieces", head([*pseudo(b"POST"), authorization, length], flags=0)
            + data(smuggled[:20], flags=0) + data(b"", flags=0) + data(smuggled[20:]), ["/first"]),
        ("a padded body", head([*pseudo(b"POST"), authorization, length], flags=0)
            + frame(DATA, PADDED | END_STREAM, 1, b"\x20" + smuggled + b"\r\n" * 16), ["/first"]),
        ("a head in two frames", frame(HEADERS, END_STREAM, 1, block(usual)[:9])
            + frame(CONTINUATION, END_HEADERS, 1, block(usual)[9:]), ["/first"]),
        ("trailers", trailers([(b"x-a", b"b")]), ["/first"]),
        ("trailers of a head", trailers([(b"content-length", b"90"), (b"transfer-encoding", b"chunked")]), None),
        ("an expectation", post([(b"expect", b"100-continue"), (b"content-length", b"2")], b"ok"), ["/first"]),
        ("te: trailers", get([(b"te", b"trailers")]), ["/first"]),
        ("the same Host", get([(b"host", b"x")]), ["/first"]),
        ("cookies", get([(b"cookie", b"a=b"), (b"cookie", b"c=d")]), ["/first"]),
        ("the gate's own names", get([(b"x_jwt_claims", b"f"), (b"x-jwt-claims", b"f")]), ["/first"]),
        ("an absolute form's scheme", get(scheme=b"https"), ["/first"]),
    ]

    def begin(stream):
        return PREFACE + frame(SETTINGS, 0, 0) + stream

    return (
        [(f"HTTP/2, {name}", begin(stream), []) for name, stream in refused]
        + [(f"HTTP/2, {name}", begin(stream), None) for name, stream in cut]
        + [(f"HTTP/2, {name}", begin(stream), targets) for name, stream, targets in sound]
    )
