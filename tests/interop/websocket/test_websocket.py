"""The `websockets` library at both ends of the gate."""

import asyncio
import base64
import contextlib
import tempfile
import time
import unittest

from gate import Gate
from issuer import Issuer
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

MESSAGES = 10_000
#: A WebSocket may outlive its token by so much, so that not all end at once.
JITTER = 5
PREFIX = "base64url.bearer.authorization.k8s.io."


class Echo:
    """A service that sends every message back, and may choose `chat`."""

    def __init__(self):
        #: The sub-protocols that each handshake offered, and how each connection was closed.
        self.offered, self.closes = [], []

    async def __aenter__(self):
        self.server = await serve(
            self.echo, "127.0.0.1", 0, process_request=self.look, subprotocols=["chat"],
            select_subprotocol=lambda _, offered: "chat" if "chat" in offered else None, max_size=None,
        )  # fmt: skip
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    def look(self, _, request):
        assert "X-JWT-Claims" in request.headers
        self.offered.append(request.headers.get("Sec-WebSocket-Protocol"))

    async def echo(self, connection):
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)
        self.closes.append((connection.close_code, connection.close_reason))


@contextlib.asynccontextmanager
async def house(*flags):
    with tempfile.TemporaryDirectory() as folder:
        issuer = await Issuer().start()
        async with Echo() as service:
            gate = await Gate(folder, issuer, service.port, "--leeway", "0s", *flags).start()
            gate.url = f"ws://127.0.0.1:{gate.address[1]}/chat"
            try:
                yield issuer, service, gate
            finally:
                gate.terminate()
                await gate.ended()
                await issuer.stop()


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def message(number):
    """Text and bytes by turns, of many lengths, now and then more than one read."""
    size = 200_000 if number % 2_500 == 0 else number % 300
    return "ü" * size if number % 2 else bytes([number % 256]) * size


class WebSocket(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        # Not each callback that takes a while is worth a line.
        asyncio.get_running_loop().set_debug(False)

    async def closes(self, service):
        """How the connections of the service were closed; its own end may come a little later."""
        async with asyncio.timeout(10):
            while not service.closes:
                await asyncio.sleep(0.02)
        return service.closes

    async def test_ten_thousand_messages_come_back_unchanged(self):
        for compression in ("deflate", None):
            async with house() as (issuer, service, gate):
                options = {"additional_headers": bearer(issuer.token()), "compression": compression, "max_size": None}
                async with connect(gate.url, **options) as socket:
                    sending = asyncio.create_task(self.send_all(socket))
                    for number in range(MESSAGES):
                        self.assertEqual(await socket.recv(), message(number), number)
                    await sending
                    await asyncio.wait_for(await socket.ping(), 10)
                self.assertEqual((socket.close_code, await self.closes(service)), (1000, [(1000, "")]))
                print(f"{MESSAGES} messages unchanged, compression {compression}", flush=True)

    async def send_all(self, socket):
        for number in range(MESSAGES):
            # In fragments of a few bytes each, now and then.
            whole = message(number)
            await socket.send([whole[:7], whole[7:]] if number % 100 == 99 else whole)

    async def test_it_is_closed_when_its_token_is_over(self):
        async with house() as (issuer, service, gate):
            expiry = int(time.time()) + 3
            async with connect(gate.url, additional_headers=bearer(issuer.token(exp=expiry))) as socket:
                with self.assertRaises(ConnectionClosed) as closed:
                    while True:
                        await socket.send("still there?")
                        await socket.recv()
                        await asyncio.sleep(0.02)
            late = time.time() - expiry
            received = closed.exception.rcvd
            self.assertEqual((received.code, received.reason), (1008, "token expired"))
            self.assertTrue(0 <= late < JITTER + 2, late)
            self.assertEqual(await self.closes(service), [(1008, "token expired")])
            print(f"closed {late:.1f} s after exp", flush=True)

    async def test_a_refusal_is_seen_with_its_status_and_its_challenge(self):
        async with house() as (issuer, service, gate):
            expired = bearer(issuer.token(exp=int(time.time()) - 60))
            for headers, challenge in (({}, 'Bearer realm="claimgate"'), (expired, 'error="invalid_token"')):
                with self.assertRaises(InvalidStatus) as refused:
                    await connect(gate.url, additional_headers=headers)
                response = refused.exception.response
                self.assertEqual(response.status_code, 401)
                self.assertIn(challenge, response.headers["WWW-Authenticate"])
            self.assertEqual(service.offered, [])

    async def test_a_token_may_be_among_the_sub_protocols(self):
        async with house("--token-websocket-protocol", "access_token") as (issuer, service, gate):
            token = issuer.token()
            for beside, chosen in ((["chat"], "chat"), ([], "access_token")):
                async with connect(gate.url, subprotocols=["access_token", token, *beside]) as socket:
                    self.assertEqual(socket.subprotocol, chosen)
                    await socket.send("hello")
                    self.assertEqual(await socket.recv(), "hello")
            self.assertEqual(service.offered, ["chat", None])
        async with house("--token-websocket-protocol", PREFIX) as (issuer, service, gate):
            token = PREFIX + base64.urlsafe_b64encode(issuer.token().encode()).rstrip(b"=").decode()
            async with connect(gate.url, subprotocols=["chat", token]) as socket:
                self.assertEqual(socket.subprotocol, "chat")
            self.assertEqual(service.offered, ["chat"])

    async def test_it_is_told_when_the_gate_goes_away(self):
        async with house("--shutdown-grace-period", "1s") as (issuer, service, gate):
            async with connect(gate.url, additional_headers=bearer(issuer.token())) as socket:
                gate.terminate()
                await socket.send("hello")
                self.assertEqual(await socket.recv(), "hello")
                with self.assertRaises(ConnectionClosed) as closed:
                    await socket.recv()
                self.assertEqual(closed.exception.rcvd.code, 1001)


if __name__ == "__main__":
    unittest.main(verbosity=2)
