"""The service behind the gate. `python origin.py FD` serves on an inherited listening socket until SIGTERM, then ends as
a polite server does: idle connections are closed at once, the others after an answer that says so."""

import asyncio
import hashlib
import signal
import socket
import subprocess
import sys

PIECE = bytes(range(256)) * 64
#: How long a connection may be idle once it is the end, when its last answer did not say so.
LAST_REQUEST = 2


class Origin:
    def __init__(self):
        self.clients, self.busy = set(), set()
        self.is_ending = False
        #: Requests for /held, and what they wait for.
        self.held, self.release = 0, asyncio.Event()

    async def start(self, **where):
        self.server = await asyncio.start_server(self.serve, **where)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def end(self):
        self.is_ending = True
        self.server.close()
        for writer in self.clients - self.busy:
            writer.close()

    async def stop(self):
        self.end()
        while self.clients:
            await asyncio.sleep(0.01)

    async def serve(self, reader, writer):
        self.clients.add(writer)
        is_last = False
        try:
            while not is_last:
                head = asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LAST_REQUEST if self.is_ending else None)
                text = (await head).decode("latin-1")
                is_last = self.is_ending
                self.busy.add(writer)
                await self.answer(text, reader, writer)
                await writer.drain()
                self.busy.discard(writer)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self.busy.discard(writer)
            self.clients.discard(writer)
            writer.close()

    async def answer(self, text, reader, writer):
        _, target, *argument = text.split(" ", 2)[1].split("/")
        body = b"ok\n"
        if target == "held":
            self.held += 1
            await self.release.wait()
        elif target == "slow":
            await asyncio.sleep(int(argument[0]) / 1000)
        elif target == "echo":
            body = (await digest_of(text.lower(), reader)).encode()
        elif target == "bytes":
            return await send_many(int(argument[0]), writer)
        elif target == "garbage":
            return writer.write(b"\x16\x03\x01 what is this\r\n\r\n")
        elif target == "cut":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + PIECE)
            raise ConnectionAbortedError
        close = b"Connection: close\r\n" if self.is_ending else b""
        writer.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (close, len(body)) + body)


async def send_many(size, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    for _ in range(size // len(PIECE)):
        writer.write(PIECE)
        await writer.drain()
    writer.write(PIECE[: size % len(PIECE)])


def abandoned():
    raise ConnectionAbortedError


async def digest_of(text, reader):
    """The SHA-256 of the request's body."""
    digest = hashlib.sha256()
    if "transfer-encoding: chunked" in text:
        while size := int(await reader.readline() or abandoned(), 16):
            digest.update(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readline()
        return digest.hexdigest()
    left = int(text.partition("content-length:")[2].partition("\r\n")[0] or 0)
    while left:
        piece = await reader.read(min(left, 65536))
        if not piece:
            raise ConnectionAbortedError
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


async def spawn(listener):
    """A process of its own that serves on this socket, once it does."""
    number = listener.fileno()
    command = [sys.executable, "-B", __file__, str(number)]
    child = await asyncio.create_subprocess_exec(*command, pass_fds=[number], stdout=subprocess.PIPE)
    await child.stdout.readline()
    return child


async def main():
    inherited = socket.socket(fileno=int(sys.argv[1]))
    inherited.setblocking(False)
    origin = await Origin().start(sock=inherited)
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    print("ready", flush=True)
    await done.wait()
    origin.end()
    print("ending", flush=True)
    await origin.stop()


if __name__ == "__main__":
    asyncio.run(main())
