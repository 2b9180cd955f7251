"""Two instances behind a Service, replaced one after the other under load: no request fails."""

import asyncio
import os
import re
import signal
import sys
import tempfile
import time
import unittest

from client import Connection, head
from gate import Gate
from issuer import Issuer
from origin import Origin
from service import NEWS, PERIOD, Service

#: Longer than the Service needs to hear of it.
DRAIN_DELAY = 3
CLIENTS = 16
IN_FLIGHT = 30
#: For a tool: the drains of both, their ends and starts, and time to spare on a busy machine.
SECONDS = int(2 * (DRAIN_DELAY + PERIOD + NEWS) + 8)


class Place:
    """An issuer, an origin and whatever instances there are of the gate."""

    async def __aenter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.issuer, self.origin = await Issuer().start(), await Origin().start(host="127.0.0.1", port=0)
        self.service, self.gates = await Service().start(), []
        return self

    async def __aexit__(self, *_):
        for gate in self.gates:
            await gate.kill()
        for end in (self.service, self.issuer, self.origin):
            await end.stop()
        self.folder.cleanup()

    async def gate(self):
        """An instance that is ready, as a pod is before it is sent anything."""
        folder = tempfile.mkdtemp(dir=self.folder.name)
        gate = Gate(folder, self.issuer, self.origin.port, "--workers", "1", "--drain-delay", f"{DRAIN_DELAY}s")
        self.gates.append(gate)
        return await gate.start()

    async def load_across_a_rolling_restart(self, *command):
        """What the tool says at its end. It runs until both instances are other ones, and a little longer."""
        old = [await self.gate(), await self.gate()]
        for gate in old:
            self.service.add(gate)
        filled = {
            "ADDRESS": f"http://127.0.0.1:{self.service.port}/",
            "FIELD": f"Authorization: Bearer {self.issuer.token()}",
        }
        tool = await asyncio.create_subprocess_exec(*(filled.get(word, word) for word in command), stdout=-1, stderr=-2)
        try:
            await asyncio.sleep(0.5)
            begun = time.monotonic()
            for gate in old:
                before = self.service.connections
                gate.terminate()
                check(await gate.ended() == 0, gate.said())
                check(self.service.connections > before, "nothing was connected meanwhile")
                self.service.add(await self.gate())
            took = time.monotonic() - begun
            said = (await asyncio.wait_for(tool.communicate(), 60))[0].decode()
        finally:
            if tool.returncode is None:
                tool.kill()
        check(tool.returncode == 0, said)
        check(took < SECONDS - 1, f"the load ended before the restart did: {took:.1f} s")
        check(self.service.refused == 0, f"{self.service.refused} connections were sent where nobody took them")
        return said


class Rolling(unittest.TestCase):
    def load(self, *command):
        async def test():
            async with Place() as place:
                return await place.load_across_a_rolling_restart(*command)

        return asyncio.run(test())

    def test_no_request_of_ab_fails_each_on_a_connection_of_its_own(self):
        said = self.load("ab", "-q", "-r", "-t", str(SECONDS), "-n", "10000000", "-c", str(CLIENTS), "-H", "FIELD", "ADDRESS")
        complete, failed = (int(found(said, rf"{what} requests:\s+(\d+)")) for what in ("Complete", "Failed"))
        self.assertEqual(failed, 0, said)
        self.assertNotIn("Non-2xx", said)
        self.assertEqual(found(said, r"Document Length:\s+(\d+)"), "3", said)
        self.assertGreater(complete, 500, said)
        print(f"ab: {complete} requests, {failed} failed")

    def test_no_request_of_wrk_fails_on_connections_that_are_kept(self):
        said = self.load("wrk", "-t1", f"-c{CLIENTS}", f"-d{SECONDS}s", "--timeout", "5s", "-H", "FIELD", "ADDRESS")
        complete = int(found(said, r"(\d+) requests in"))
        self.assertNotIn("Socket errors", said)
        self.assertNotIn("Non-2xx", said)
        self.assertGreater(complete, 500, said)
        print(f"wrk: {complete} requests, 0 failed")

    def test_sigterm_loses_none_of_thirty_requests_in_flight(self):
        async def test():
            async with Place() as place:
                await self.thirty_in_flight(place)

        asyncio.run(test())

    async def thirty_in_flight(self, place):
        gate, token = await place.gate(), place.issuer.token()
        clients = [await Connection.open(gate.address) for _ in range(IN_FLIGHT)]
        for client in clients:
            client.send(head("/held", token))
        while place.origin.held < IN_FLIGHT:
            await asyncio.sleep(0.01)
        gate.terminate()
        # Nobody is let in any more: the drain delay is over.
        while await is_open(gate.address):
            await asyncio.sleep(0.05)
        self.assertIsNone(gate.child.poll(), "it did not wait")
        place.origin.release.set()
        answers = await asyncio.gather(*(client.answer() for client in clients))
        answered = time.monotonic()
        self.assertEqual(await gate.ended(), 0, gate.said())
        took = time.monotonic() - answered
        self.assertEqual({(answer.status, answer.body) for answer in answers}, {(200, b"ok\n")})
        self.assertTrue(all(answer.closes for answer in answers))
        print(f"SIGTERM with {IN_FLIGHT} requests in flight: none lost, ended {took * 1000:.0f} ms after the last answer")


def check(holds, message):
    if not holds:
        raise AssertionError(message)


def found(text, pattern):
    match = re.search(pattern, text)
    if not match:
        raise AssertionError(f"no {pattern} in: {text}")
    return match[1]


async def is_open(address):
    try:
        _, writer = await asyncio.open_connection(*address)
    except ConnectionError:
        return False
    writer.close()
    return True


if __name__ == "__main__":
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    unittest.main(verbosity=2)
