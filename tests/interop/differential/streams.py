"""Byte streams of one client, and what an origin may see of each.

A stream is a name, its bytes, and the targets that the origin has to see; `None` in their place: the request at `/first`
was authorised and its body breaks off, so that the origin may see it or not, and nothing else.
"""


def streams(token):
    """With this line of a header for each token."""
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n" + token + b"\r\n"

    def request(fields=b"", target=b"/first", method=b"GET", body=b""):
        return method + b" " + target + b" HTTP/1.1\r\nHost: x\r\n" + token + fields + b"\r\n" + body

    def post(fields, body=b""):
        return request(fields, method=b"POST", body=body)

    chunked = b"Transfer-Encoding: chunked\r\n"
    end = b"0\r\n\r\n"

    ambiguous = [
        ("CL.TE", post(b"Content-Length: 5\r\n" + chunked, end)),
        ("TE.CL", post(chunked + b"Content-Length: 5\r\n", end)),
        ("CL.TE, no number", post(b"Content-Length: zz\r\n" + chunked, end)),
        ("CL.CL", post(b"Content-Length: 0\r\nContent-Length: 90\r\n")),
        ("CL.CL alike", post(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"ok")),
        ("CL with a plus", post(b"Content-Length: +2\r\n", b"ok")),
        ("CL with zeros", post(b"Content-Length: 002\r\n", b"ok")),
        ("CL in a list", post(b"Content-Length: 2, 2\r\n", b"ok")),
        ("CL beyond 64 bits", post(b"Content-Length: 18446744073709551618\r\n", b"ok")),
        ("CL before a space", post(b"Content-Length : 90\r\n")),
        ("CL folded", post(b"X: y\r\n Content-Length: 90\r\n")),
        ("CL behind a bare LF", post(b"X: y\nContent-Length: 90\r\n")),
        ("CL behind a bare CR", post(b"X: y\rContent-Length: 90\r\n")),
        ("CL with an underscore", post(b"Content_Length: 90\r\n")),
        ("TE.TE", post(chunked + b"Transfer-Encoding: identity\r\n", end)),
        ("TE before a space", post(b"Transfer-Encoding : chunked\r\n", end)),
        ("TE behind a vertical tab", post(b"Transfer-Encoding: \x0bchunked\r\n", end)),
        ("TE with a parameter", post(b"Transfer-Encoding: chunked;q=1\r\n", end)),
        ("TE folded", post(b"Transfer-Encoding:\r\n chunked\r\n", end)),
        ("TE with an underscore", post(b"Transfer_Encoding: chunked\r\n", end)),
        ("TE chunked twice", post(b"Transfer-Encoding: chunked, chunked\r\n", end)),
        ("two Hosts", request(b"Host: y\r\n")),
        ("a fragment", request(target=b"/first#x")),
        ("a space in the target", request(target=b"/first x")),
        ("NUL in a value", request(b"X: a\0b\r\n")),
        ("a bare LF", request(b"X: y\nY: z\r\n")),
    ]

    cut = [
        ("bare LF behind a size", post(chunked, b"2\nok\r\n" + end)),
        ("bare LF behind data", post(chunked, b"2\r\nok\n" + end)),
        ("surplus behind data", post(chunked, b"2\r\nokXX" + end)),
        ("a size with a plus", post(chunked, b"+2\r\nok\r\n" + end)),
        ("a size with 0x", post(chunked, b"0x2\r\nok\r\n" + end)),
        ("a size beyond 64 bits", post(chunked, b"10000000000000002\r\nok\r\n" + end)),
        ("LF ends an extension", post(chunked, b"2;\nxx\r\n5a\r\n" + end)),
        ("CR in an extension", post(chunked, b"2;a\rb\r\nok\r\n" + end)),
        ("bare LF at the end", post(chunked, b"2\r\nok\r\n0\n\n")),
        ("a request for a trailer", post(chunked, b"0\r\n")),
    ]

    sound = [
        ("one request", request(), ["/first"]),
        ("a pipeline", request() + request(target=b"/second"), ["/first", "/second"]),
        ("no token", b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n", []),
        ("a body that looks like a request", post(b"Content-Length: %d\r\n" % len(smuggled), smuggled), ["/first"]),
        ("the same for GET", request(b"Content-Length: %d\r\n" % len(smuggled), body=smuggled), ["/first"]),
        ("chunks that look like a request", post(chunked, b"%x\r\n%b\r\n" % (len(smuggled), smuggled) + end), ["/first"]),
        ("chunks for GET", request(chunked, body=b"%x\r\n%b\r\n" % (len(smuggled), smuggled) + end), ["/first"]),
        ("extensions and trailers", post(chunked + b"Trailer: X-A\r\n", b"2;a=b\r\nok\r\n0;c\r\nX-A: b\r\n\r\n"), ["/first"]),
        ("an expectation", post(b"Expect: 100-continue\r\nContent-Length: 2\r\n", b"ok"), ["/first"]),
        (
            "an upgrade to HTTP/2",
            request(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
            ["/first"],
        ),
        ("an absolute target", request(target=b"http://y/first"), ["/first"]),
        ("the gate's own names", request(b"X_JWT_Claims: f\r\nConnection: X-JWT-Claims\r\n"), ["/first"]),
        ("a body and a pipeline", post(b"Content-Length: 2\r\n", b"ok") + request(target=b"/second"), ["/first", "/second"]),
    ]

    # Behind what is not sound stands a request that would be authorised, if anybody took it for one.
    return (
        [(name, stream + smuggled, []) for name, stream in ambiguous]
        + [(name, stream + smuggled, None) for name, stream in cut]
        + sound
    )
