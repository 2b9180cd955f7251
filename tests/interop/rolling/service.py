"""A Service as kube-proxy makes one: one address before several endpoints.

A new connection goes to an endpoint that is in the list, and nowhere else when that one does not take it: then it is
reset, as the kernel's rules would have it. An endpoint leaves the list some time after its readiness has failed, since a
probe has to notice and the news has to travel. What is connected already stays connected, until one of the two ends it.
"""

import asyncio
import itertools

#: Between two probes, and from a failed one to the end of new connections.
PERIOD = 0.2
NEWS = 0.4


class Service:
    def __init__(self):
        self.endpoints, self.turn = [], itertools.count()
        self.connections = self.refused = 0
        self.watches = set()

    async def start(self):
        self.server = await asyncio.get_running_loop().create_server(lambda: Client(self), "127.0.0.1", 0, backlog=1024)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def stop(self):
        self.server.close()
        for watch in self.watches:
            watch.cancel()
        await asyncio.gather(*self.watches, return_exceptions=True)

    def add(self, gate):
        self.endpoints.append(gate)
        watch = asyncio.create_task(self.watch(gate))
        self.watches.add(watch)
        watch.add_done_callback(self.watches.discard)

    async def watch(self, gate):
        while await gate.probe():
            await asyncio.sleep(PERIOD)
        await asyncio.sleep(NEWS)
        self.endpoints.remove(gate)

    def next(self):
        return self.endpoints[next(self.turn) % len(self.endpoints)]


class End(asyncio.Protocol):
    """One end of a connection: what comes in goes out at the other."""

    other = transport = None
    has_ended = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.other.transport.write(data)

    def eof_received(self):
        self.has_ended = True
        if self.other.has_ended:
            self.other.transport.close()
            return False
        self.other.transport.write_eof()
        return True

    def connection_lost(self, error):
        if self.other and self.other.transport:
            self.other.transport.abort() if error else self.other.transport.close()

    def pause_writing(self):
        self.other.transport.pause_reading()

    def resume_writing(self):
        self.other.transport.resume_reading()


class Client(End):
    """The end at the client. Read from once the endpoint has taken the connection."""

    def __init__(self, service):
        self.service = service

    def connection_made(self, transport):
        super().connection_made(transport)
        transport.pause_reading()
        self.connecting = asyncio.ensure_future(self.connect())

    async def connect(self):
        self.service.connections += 1
        self.other = End()
        self.other.other = self
        try:
            gate = self.service.next()
            await asyncio.get_running_loop().create_connection(lambda: self.other, *gate.address)
        except (OSError, ZeroDivisionError):
            self.service.refused += 1
            self.transport.abort()
            return
        self.transport.resume_reading()
