"""Ten thousand clients that do nothing: what a proxy keeps for each of them."""

import contextlib
import socket

from process import Failure

CROWD = 10_000
TIMEOUT = 10


def memory_per_connection(process, count, token):
    """KiB for each of so many connections: before their first byte, and after one answered request each.

    Resident memory, less what it was without them. The requests go one after the other, so that what is kept for the
    origin's side does not count."""
    without = process.settled_memory_mib()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(process.address, TIMEOUT)) for _ in range(count)]
        process.wait_for_open_files(count)
        silent = process.settled_memory_mib()
        for client in clients:
            exchange(client, token)
        answered = process.settled_memory_mib()
    return {"silent": (silent - without) * 1024 / count, "answered": (answered - without) * 1024 / count}


def exchange(client, token):
    client.sendall(f"GET / HTTP/1.1\r\nHost: compare.test\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\nok\n"):
        piece = client.recv(4096)
        answer += piece
        if not piece or not answer.startswith(b"HTTP/1.1 200"[: len(answer)]):
            raise Failure(f"not a 200: {answer[:200]}")
