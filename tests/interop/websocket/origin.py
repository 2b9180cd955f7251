"""A service that speaks WebSocket: an echo that remembers what it was asked, and how each connection ended."""

import http

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

#: What sending raises at the end. The second where asyncio (of Python 3.11) has closed a transport behind its last write
#: and the library then aborts it.
GONE = (ConnectionClosed, AttributeError)


class Origin:
    def __init__(self, subprotocols=None):
        self.subprotocols = subprotocols
        #: The header fields of each handshake.
        self.handshakes = []
        #: The connections, in their order, and how those that are over have ended.
        self.connections, self.closes = [], []

    async def __aenter__(self):
        self.server = await serve(
            self.echo, "127.0.0.1", 0, process_request=self.look, subprotocols=self.subprotocols, max_size=None,
            ping_interval=None,
        )  # fmt: skip
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    def look(self, connection, request):
        self.handshakes.append(request.headers)
        if request.path == "/forbidden":
            return connection.respond(http.HTTPStatus.FORBIDDEN, "not this room\n")
        return None

    async def echo(self, connection):
        self.connections.append(connection)
        try:
            if connection.request.path == "/bye":
                await connection.close(4001, "bye, said the origin")
            while connection.request.path == "/fragments":
                await connection.send([frame async for frame in connection.recv_streaming()])
            async for message in connection:
                await connection.send(message)
        except GONE:
            pass
        await connection.wait_closed()
        self.closes.append((connection.close_code, connection.close_reason))
