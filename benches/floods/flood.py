"""Floods, each in a process of its own: `flood.py KIND HOST PORT COUNT TOKEN`, until SIGTERM.

`heads` and `bodies` keep COUNT connections open that send a byte now and then, and open another one for each that is
closed. `bodies` has a permit, and so a connection to the origin each. `kids`
sends COUNT requests per second, each with another made-up key, whether answers come or not.

Prints `ready` when it is at its full size, and what came of it at its end."""

import asyncio
import collections
import json
import os
import random
import signal
import socket
import sys

from client import head
from issuer import base64url

#: Between two bytes of a slow connection, in steps of the beat.
BEAT, BEATS = 0.1, 30
#: Connections that are being opened at a time.
OPENING = 64


class Flood:
    #: Requests that were sent, where they are counted.
    sent = 0

    def __init__(self, address, count, token):
        self.address, self.count, self.token = address, count, token
        self.outcomes, self.open = collections.Counter(), set()

    async def connect(self, make):
        loop, opened = asyncio.get_running_loop(), socket.socket()
        opened.setblocking(False)
        # What is not read is to wait in the gate, not in the kernel.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # Several addresses, so that ports do not run out.
        opened.bind((f"127.0.0.{random.randint(2, 200)}", 0))
        try:
            await loop.sock_connect(opened, self.address)
            await loop.create_connection(make, sock=opened)
        except OSError as error:
            opened.close()
            self.outcomes[type(error).__name__] += 1

    def ready(self):
        print("ready", flush=True)


class Peer(asyncio.Protocol):
    """One connection of a flood."""

    def __init__(self, flood):
        self.flood, self.transport = flood, None

    def connection_made(self, transport):
        self.transport = transport
        self.flood.open.add(self)

    def connection_lost(self, _):
        self.flood.open.discard(self)

    def data_received(self, data):
        if data.startswith(b"HTTP/1.1 "):
            self.flood.outcomes[data[9:12].decode()] += 1


class Slow(Peer):
    def connection_made(self, transport):
        super().connection_made(transport)
        self.beat = random.randrange(BEATS)
        transport.write(self.flood.begin)


class SlowFlood(Flood):
    BEGIN = {
        "heads": lambda token: b"GET / HTTP/1.1\r\nHost: gate.test\r\nX-Slow: ",
        "bodies": lambda token: head("/echo", token, "POST", Content_Length=1_000_000),
    }

    def __init__(self, kind, *arguments):
        super().__init__(*arguments)
        self.begin = self.BEGIN[kind](self.token)
        self.opening = 0

    async def run(self):
        openers = [asyncio.create_task(self.keep_open()) for _ in range(OPENING)]
        trickle = asyncio.create_task(self.trickle())
        while len(self.open) < self.count:
            await asyncio.sleep(0.05)
        self.ready()
        await asyncio.gather(trickle, *openers)

    async def keep_open(self):
        while True:
            if len(self.open) + self.opening < self.count:
                self.opening += 1
                await self.connect(lambda: Slow(self))
                self.opening -= 1
            else:
                await asyncio.sleep(0.05)

    async def trickle(self):
        beat = 0
        while True:
            await asyncio.sleep(BEAT)
            beat = (beat + 1) % BEATS
            for one in self.open:
                if one.beat == beat:
                    one.transport.write(b"a")


class Asking(Peer):
    """A connection that is used again once its answer has come."""

    def connection_made(self, transport):
        super().connection_made(transport)
        transport.write(self.flood.request())

    def data_received(self, data):
        super().data_received(data)
        # An answer of ours is one segment; its body ends like this.
        if data.endswith(b"}") or data.endswith(b"}\n"):
            self.flood.free.append(self)

    def connection_lost(self, _):
        super().connection_lost(_)
        if self in self.flood.free:
            self.flood.free.remove(self)


class KidFlood(Flood):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.free, self.connecting = [], set()
        self.payload = self.token.partition(".")[2]

    def request(self):
        self.sent += 1
        header = base64url(b'{"alg":"RS256","kid":"%s"}' % os.urandom(9).hex().encode())
        return head("/", f"{header}.{self.payload}")

    async def run(self):
        self.ready()
        loop, tick = asyncio.get_running_loop(), 0.01
        begun, due = loop.time(), 0.0
        while True:
            await asyncio.sleep(tick)
            # Late ticks are made up for.
            due = (loop.time() - begun) * self.count
            while self.sent + len(self.connecting) < due:
                self.ask()

    def ask(self):
        if self.free:
            self.free.pop().transport.write(self.request())
            return
        connecting = asyncio.ensure_future(self.connect(lambda: Asking(self)))
        self.connecting.add(connecting)
        connecting.add_done_callback(self.connecting.discard)


async def main():
    kind, host, port, count, token = sys.argv[1:]
    arguments = (host, int(port)), int(count), token
    flood = KidFlood(*arguments) if kind == "kids" else SlowFlood(kind, *arguments)
    task = asyncio.ensure_future(flood.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        pass
    report = {"open": len(flood.open), "count": flood.count, "outcomes": flood.outcomes, "sent": flood.sent}
    print(json.dumps(report), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
