"""A plain HTTP/1.1 client, so that every answer, and every missing one, is seen as it came."""

import asyncio
import dataclasses
import json


class Broken(Exception):
    """There is no whole answer: `no answer`, or `cut` after its head."""


@dataclasses.dataclass
class Answer:
    status: int
    fields: dict
    body: bytes = b""

    @property
    def closes(self):
        return "close" in self.fields.get("connection", "")

    @property
    def reason(self):
        """Why the gate refused it; empty for the origin's own answers."""
        if self.fields.get("content-type") != "application/problem+json":
            return ""
        return json.loads(self.body)["reason"]

    @property
    def kind(self):
        return f"{self.status} {self.reason}".strip()


def head(target="/", token=None, method="GET", **fields):
    """A request head. Underscores in the names of fields are hyphens."""
    lines = [f"{method} {target} HTTP/1.1", "Host: gate.test"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "".join(line + "\r\n" for line in lines).encode() + b"\r\n"


class Connection:
    """One connection to the gate."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.is_open = True

    @classmethod
    async def open(cls, address, **options):
        try:
            return cls(*await asyncio.open_connection(*address, **options))
        except OSError as error:
            raise Broken(f"no connection: {type(error).__name__}") from error

    async def ask(self, request, patience=25):
        """Sends the request, whole, and reads the whole answer."""
        self.send(request)
        return await self.answer(patience)

    def send(self, octets):
        self.writer.write(octets)

    async def answer(self, patience=25, pace=None):
        """Reads one answer; `pace` is awaited before each piece of the body."""
        try:
            answer = await asyncio.wait_for(self.whole_answer(pace), patience)
        except asyncio.TimeoutError:
            self.abort()
            raise Broken(f"no whole answer within {patience} s") from None
        if answer.closes:
            self.close()
        return answer

    async def whole_answer(self, pace):
        answer = await self.answer_head()
        answer.body = await self.body(answer, pace)
        return answer

    async def answer_head(self):
        try:
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Broken(f"no answer: {type(error).__name__}") from error
        line, *lines = text[:-4].split("\r\n")
        pairs = (one.partition(":") for one in lines)
        return Answer(int(line.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs})

    async def body(self, answer, pace):
        try:
            if answer.fields.get("transfer-encoding") == "chunked":
                pieces = []
                while size := int(await self.reader.readline(), 16):
                    pieces.append(await self.exactly(size, pace))
                    await self.reader.readexactly(2)
                await self.reader.readline()
                return b"".join(pieces)
            return await self.exactly(int(answer.fields.get("content-length", 0)), pace)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Broken("cut") from error

    async def exactly(self, size, pace):
        pieces = bytearray()
        while len(pieces) < size:
            if pace:
                await pace()
            pieces += await self.reader.readexactly(min(size - len(pieces), 65536))
        return bytes(pieces)

    def close(self):
        self.is_open = False
        self.writer.close()

    def abort(self):
        """Goes away with a reset where there is something unread."""
        self.is_open = False
        self.writer.transport.abort()


async def cancel(tasks):
    """Until they have ended: in Python 3.11, `wait_for` may lose a cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1)
