"""What a WebSocket is like without the gate, frame by frame and to its end, it is like with it."""

import asyncio
import contextlib
import random
import tempfile
import time
import unittest

from gate import Gate
from issuer import Issuer
from origin import GONE, Origin
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

#: A WebSocket may outlive its token by so much, so that not all end at once.
JITTER = 5
PATIENCE = 60
EXPIRED = (1008, "token expired")


class House:
    """An issuer, an origin and the gate before it."""

    def __init__(self, *flags, subprotocols=None):
        self.flags, self.origin = flags, Origin(subprotocols)

    async def __aenter__(self):
        async with contextlib.AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            self.issuer = await Issuer().start()
            stack.push_async_callback(self.issuer.stop)
            await stack.enter_async_context(self.origin)
            flags = ["--leeway", "0s", "--workers", "1", *self.flags]
            self.gate = Gate(folder, self.issuer, self.origin.port, *flags)
            stack.push_async_callback(self.end_gate)
            await self.gate.start()
            self.stack = stack.pop_all()
        return self

    async def __aexit__(self, *_):
        await self.stack.aclose()

    async def end_gate(self):
        if self.gate.child.poll() is None:
            await self.gate.kill()

    def connect(self, path="/", token=None, direct=False, **options):
        """A connection through the gate, or past it; without a token, where that is `""`."""
        if token != "":
            options["additional_headers"] = {"Authorization": f"Bearer {token or self.issuer.token()}"}
        port = self.origin.port if direct else self.gate.address[1]
        options = {"max_size": None, "ping_interval": None, "proxy": None} | options
        return connect(f"ws://127.0.0.1:{port}{path}", **options)

    async def closes(self, count=1):
        """How the origin's connections ended, once so many have."""
        async with asyncio.timeout(PATIENCE):
            while len(self.origin.closes) < count:
                await asyncio.sleep(0.02)
        return self.origin.closes


class Case(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        # It would tell of each callback that took long.
        asyncio.get_running_loop().set_debug(False)

    async def ended(self, client):
        """How it ended for the client."""
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(PATIENCE):
                while True:
                    await client.recv()
        return client.close_code, client.close_reason


class Messages(Case):
    async def test_one_that_no_socket_holds_comes_back_unchanged(self):
        message = random.Random(1).randbytes(32 << 20)
        async with House() as house, house.connect(compression=None) as client:
            async with asyncio.timeout(2 * PATIENCE):
                await client.send(message)
                self.assertTrue(await client.recv() == message)

    async def test_messages_in_several_frames_stay_so(self):
        async with House() as house, house.connect("/fragments", compression=None) as client:
            async with house.connect("/fragments", direct=True, compression=None) as reference:
                for pieces in (["first, ", "second, ", "third"], [b"", b"x" * 70_000, b"y"]):
                    answers = []
                    for end in (reference, client):
                        await end.send(pieces)
                        async with asyncio.timeout(PATIENCE):
                            answers.append([frame async for frame in end.recv_streaming()])
                    self.assertEqual(answers[1], answers[0])
                    self.assertEqual(answers[1][: len(pieces)], pieces)

    async def test_pings_are_the_other_ends_to_answer(self):
        async with House() as house, house.connect() as client:
            async with asyncio.timeout(PATIENCE):
                await (await client.ping(b"from the client"))
                (connection,) = house.origin.connections
                await (await connection.ping(b"from the origin"))

    async def test_50_clients_at_a_time_do_not_get_each_others(self):
        async with House() as house:

            async def talk(name):
                async with house.connect() as client:
                    for number in range(100):
                        await client.send(f"{name}/{number}")
                        self.assertEqual(await client.recv(), f"{name}/{number}")

            async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
                for name in range(50):
                    group.create_task(talk(name))
            self.assertEqual(await house.closes(50), [(1000, "")] * 50)


class Handshakes(Case):
    async def test_what_the_origin_refuses_is_its_own_answer(self):
        async with House() as house:
            with self.assertRaises(InvalidStatus) as raised:
                await house.connect("/forbidden")
            response = raised.exception.response
            self.assertEqual((response.status_code, response.body), (403, b"not this room\n"))

    async def test_a_token_behind_a_prefix_of_ones_own_does_not_reach_the_origin(self):
        async with House("--token-websocket-protocol", "bearer.", subprotocols=["chat"]) as house:
            offered = ["chat", f"bearer.{house.issuer.token()}"]
            async with house.connect(token="", subprotocols=offered) as client:
                self.assertEqual(client.subprotocol, "chat")
            self.assertEqual(house.origin.handshakes[0]["Sec-WebSocket-Protocol"], "chat")

    async def test_an_origin_that_wants_another_is_heard(self):
        async with House("--token-websocket-protocol", "access_token", subprotocols=["chat"]) as house:
            with self.assertRaises(InvalidStatus) as past:
                await house.connect(direct=True, token="", subprotocols=["other"])
            with self.assertRaises(InvalidStatus) as through:
                await house.connect(token="", subprotocols=["access_token", house.issuer.token(), "other"])
            answers = [raised.exception.response for raised in (past, through)]
            self.assertEqual(answers[0].status_code, answers[1].status_code)
            self.assertEqual(answers[0].body, answers[1].body)


class Ends(Case):
    async def test_messages_do_not_stop_it_from_ending_nor_break_at_its_end(self):
        async with House() as house:
            token = house.issuer.token(exp=int(time.time()) + 4)
            async with house.connect(token=token, compression=None) as client:

                async def send():
                    with contextlib.suppress(*GONE):
                        while True:
                            await client.send(b"x" * 70_000)
                            # Sending need not wait once the gate throws away what comes: the reader has its turn.
                            await asyncio.sleep(0)

                sending = asyncio.create_task(send())
                with contextlib.suppress(ConnectionClosed):
                    async with asyncio.timeout(PATIENCE):
                        async for message in client:
                            self.assertEqual(len(message), 70_000)
                await sending
                self.assertEqual((client.close_code, client.close_reason), EXPIRED)
            self.assertEqual(await house.closes(), [EXPIRED])

    async def test_it_goes_on_where_that_is_wanted(self):
        async with House("--stream-expiry", "ignore") as house:
            expiry = int(time.time()) + 4
            async with house.connect(token=house.issuer.token(exp=expiry)) as client:
                while time.time() < expiry + JITTER + 1:
                    await client.send("still there")
                    self.assertEqual(await asyncio.wait_for(client.recv(), PATIENCE), "still there")
                    await asyncio.sleep(0.1)

    async def test_the_origins_close_reaches_the_client(self):
        async with House() as house, house.connect("/bye") as client:
            self.assertEqual(await self.ended(client), (4001, "bye, said the origin"))
            self.assertEqual(await house.closes(), [(4001, "bye, said the origin")])

    async def test_the_clients_close_reaches_the_origin(self):
        async with House() as house:
            async with house.connect() as client:
                await client.close(4002, "bye, said the client")
                self.assertEqual((client.close_code, client.close_reason), (4002, "bye, said the client"))
            self.assertEqual(await house.closes(), [(4002, "bye, said the client")])

    async def test_a_client_that_vanishes_is_gone_for_the_origin(self):
        async with House() as house:
            client = await house.connect()
            client.transport.abort()
            self.assertEqual(await house.closes(), [(1006, "")])

    async def test_an_origin_that_vanishes_is_gone_for_the_client(self):
        async with House() as house:
            client = await house.connect()
            await client.send("hello")
            await asyncio.wait_for(client.recv(), PATIENCE)
            house.origin.connections[0].transport.abort()
            self.assertEqual(await self.ended(client), (1006, ""))

    async def test_a_gate_that_ends_says_so_after_its_grace_period(self):
        async with House("--shutdown-grace-period", "2s") as house, house.connect() as client:
            since = time.monotonic()
            house.gate.terminate()
            await client.send("meanwhile")
            self.assertEqual(await asyncio.wait_for(client.recv(), PATIENCE), "meanwhile")
            self.assertEqual(await self.ended(client), (1001, "shutting down"))
            self.assertGreaterEqual(time.monotonic() - since, 2)
            self.assertEqual(await house.closes(), [(1001, "shutting down")])
            await house.gate.ended()


if __name__ == "__main__":
    unittest.main(verbosity=2)
