"""HTTP/2 frames, as bytes, and a flood of them in a process of its own: `frames.py KIND HOST PORT TOKEN`, until SIGTERM.

Prints `ready` when all its connections were open once, and what it sent at its end."""

import asyncio
import itertools
import json
import os
import signal
import sys

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
CANCEL = (8).to_bytes(4, "big")
#: How many connections a flood has; each that ends is opened again.
CONNECTIONS = 50
#: Of answers that nobody reads, and of clients that have said all that they had to say.
HELD_CONNECTIONS, HELD_STREAMS, IDLE_CONNECTIONS = 10, 100, 2_000


def frame(kind, flags=0, stream=0, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def integer(number):
    """With a prefix of seven bits (RFC 7541 §5.1)."""
    if number < 127:
        return bytes([number])
    octets, number = [127], number - 127
    while number >= 128:
        octets.append(number % 128 | 128)
        number //= 128
    return bytes([*octets, number])


def text(value):
    return integer(len(value)) + value.encode()


def fields(path="/", token=None, method="GET"):
    """A request's, each literal and never indexed."""
    pairs = [(":method", method), (":scheme", "http"), (":authority", "gate.test"), (":path", path)]
    if token:
        pairs.append(("authorization", f"Bearer {token}"))
    return b"".join(b"\x10" + text(name) + text(value) for name, value in pairs)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS)
#: As many streams as one connection gets through before it is ended, by far.
STREAMS = range(1, 40_001, 2)


def streams(end):
    block = fields()
    return b"".join(frame(HEADERS, END_HEADERS, stream, block) + end(stream) for stream in STREAMS)


def bomb():
    """One large field in the table, named by one byte each ever after."""
    block = fields() + b"\x40" + text("x") + text("v" * 3900)
    return frame(HEADERS, END_HEADERS | END_STREAM, 1, block + b"\xbe" * (16_000 - len(block)))


#: What each begins with and then sends again and again.
KINDS = {
    "ping": lambda token: (b"", frame(PING, payload=bytes(8)) * 2_000),
    "settings": lambda token: (b"", frame(SETTINGS) * 2_000),
    "window": lambda token: (b"", frame(WINDOW_UPDATE, payload=b"\0\0\0\1") * 2_000),
    "priority": lambda token: (b"", frame(PRIORITY, stream=1, payload=bytes(4) + b"\1") * 2_000),
    "unknown": lambda token: (b"", frame(0x42) * 2_000),
    "data": lambda token: (frame(HEADERS, END_HEADERS, 1, fields("/echo", token, "POST")), frame(DATA, stream=1) * 2_000),
    "continuation": lambda token: (frame(HEADERS, END_STREAM, 1, fields()), frame(CONTINUATION, stream=1, payload=b"\x10\1x\1y") * 2_000),
    "reset": lambda token: (b"", streams(lambda stream: frame(RESET, stream=stream, payload=CANCEL))),
    # WINDOW_UPDATE by nothing is an error of the stream.
    "provoke": lambda token: (b"", streams(lambda stream: frame(WINDOW_UPDATE, stream=stream, payload=bytes(4)))),
    "bomb": lambda token: (b"", bomb()),
}  # fmt: skip


class Flood:
    def __init__(self, kind, address, token):
        self.kind, self.address, self.token = kind, address, token
        self.sent = self.opened = self.ended = 0
        self.is_ready = asyncio.Event()

    async def run(self):
        count = {"held": HELD_CONNECTIONS, "idle": IDLE_CONNECTIONS}.get(self.kind, CONNECTIONS)
        keep = self.hold if self.kind in ("held", "idle") else self.flood
        tasks = [asyncio.create_task(keep()) for _ in range(count)]
        while self.opened < count:
            await asyncio.sleep(0.02)
        print("ready", flush=True)
        await asyncio.gather(*tasks)

    async def open(self):
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(PREFACE)
        self.opened += 1
        return reader, writer

    async def flood(self):
        begin, again = KINDS[self.kind](self.token)
        while True:
            reader, writer = await self.open()
            reading = asyncio.create_task(read_away(reader))
            writer.write(begin)
            try:
                while not reading.done():
                    writer.write(again)
                    self.sent += len(again)
                    await writer.drain()
                    await asyncio.sleep(0)
            except OSError:
                pass
            self.ended += 1
            reading.cancel()
            writer.transport.abort()

    async def hold(self):
        """Asks, and makes no room for the answers; or for one, and then for nothing."""
        _, writer = await self.open()
        if self.kind == "held":
            writer.write(frame(SETTINGS, payload=b"\0\4\0\0\0\1"))
            block = fields("/bytes/65536", self.token)
            for stream in range(1, 2 * HELD_STREAMS, 2):
                writer.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
                # An answer each, as far as the origin can.
                await asyncio.sleep(0.01)
        else:
            writer.write(frame(HEADERS, END_HEADERS | END_STREAM, 1, fields("/", self.token)))
        await asyncio.Event().wait()


async def read_away(reader):
    try:
        while await reader.read(65_536):
            pass
    except OSError:
        pass


class Client:
    """One that keeps to the rules, with one connection for as long as that lasts."""

    def __init__(self, address):
        self.address, self.writer = address, None

    async def ask(self, token):
        """The status of `GET /`, or why there is none."""
        if not self.writer:
            self.reader, self.writer = await asyncio.open_connection(*self.address)
            self.writer.write(PREFACE)
            self.numbers = itertools.count(1, 2)
        stream = next(self.numbers)
        self.writer.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, fields("/", token)))
        status = None
        while True:
            kind, flags, about, payload = await self.next()
            if kind == HEADERS and about == stream:
                # `:status: 200` of the static table.
                status = "200" if payload[:1] == b"\x88" else "another status"
            if about == stream and kind == RESET:
                return "reset"
            if about == stream and flags & END_STREAM:
                return status

    async def next(self):
        head = await self.reader.readexactly(9)
        payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
        if head[3] in (SETTINGS, PING) and not head[4] & ACK:
            self.writer.write(frame(head[3], ACK, payload=payload if head[3] == PING else b""))
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    def close(self):
        if self.writer:
            self.writer.close()
        self.writer = None


def main():
    kind, host, port, token = sys.argv[1:]
    flood = Flood(kind, (host, int(port)), token)

    def end(*_):
        report = {"sent": flood.sent, "opened": flood.opened, "ended": flood.ended}
        os.write(1, json.dumps(report).encode() + b"\n")
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    asyncio.run(flood.run())


if __name__ == "__main__":
    main()
