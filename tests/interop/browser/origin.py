"""Two origins: one of server-sent events, one of WebSockets. Each serves a page to look from."""

import asyncio
import contextlib
import http

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

PAGE = b"<!doctype html><title>page</title>"


class Events:
    """Sends an event, and the next one only when the page has asked for `/seen/N`: whoever buffers stands still."""

    def __init__(self, count):
        self.count = count
        self.seen, self.news = 0, asyncio.Condition()
        #: Streams whose reader went away.
        self.gone = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def answer(self, reader, writer):
        try:
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
                if path == "/events":
                    await self.stream(reader, writer)
                    return
                if path.startswith("/seen/"):
                    async with self.news:
                        self.seen = int(path.removeprefix("/seen/"))
                        self.news.notify_all()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(PAGE), PAGE))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def stream(self, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(1, self.count + 1):
            event = b"data: %d\n\n" % number
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await writer.drain()
            async with self.news:
                await self.news.wait_for(lambda: self.seen >= number)
        # The stream has no end of its own.
        await reader.read()
        self.gone += 1


class WebSockets:
    """Echoes every message."""

    def __init__(self):
        #: The `Sec-WebSocket-Protocol` and `X-JWT-Claims` of each handshake, and how each connection ended.
        self.protocols, self.claims, self.closes = [], [], []

    async def __aenter__(self):
        self.server = await serve(
            self.echo, "127.0.0.1", 0, process_request=self.look, subprotocols=["chat"], max_size=None
        )
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    def look(self, connection, request):
        if request.path == "/page":
            response = connection.respond(http.HTTPStatus.OK, PAGE.decode())
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "text/html"
            return response
        self.protocols.append(request.headers.get("Sec-WebSocket-Protocol"))
        self.claims.append(request.headers.get("X-JWT-Claims"))
        return None

    async def echo(self, connection):
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)
        self.closes.append((connection.close_code, connection.close_reason))
