"""Mixed load through rotations, outages of the issuer, restarts of the origin and clients of every bad habit: no request
fails that should not, memory and descriptors stay flat."""

import argparse
import asyncio
import contextlib
import pathlib
import signal
import socket
import sys
import tempfile
import time

import origin
import verdict
from client import cancel
from clients import KINDS, Clients, keep_on
from gate import Gate, version
from issuer import Issuer, most_within
from peers import claimgate_binary
from process import Failure

ROTATION = 20
#: What happens in every minute: (second, what).
MINUTE = [(10, "restart"), (20, "down"), (28, "up"), (30, "replace"), (35, "hanging"), (43, "up"), (45, "replace"),
          (50, "failing"), (53, "restart"), (56, "up")]  # fmt: skip


class Upstream:
    """The origin in a process of its own, which comes and goes."""

    def __init__(self, timeline):
        self.timeline, self.port = timeline, 0
        self.children = []

    async def start(self):
        self.socket = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self.port = self.socket.getsockname()[1]
        await self.spawn()
        return self

    async def spawn(self):
        self.children.append(await origin.spawn(self.socket))

    async def replace(self):
        """By another one on the same socket, as a server does that is reloaded: nobody is refused."""
        old = self.children[-1]
        await self.spawn()
        with self.timeline.during(verdict.REPLACEMENT):
            old.terminate()
            await old.stdout.readline()
        self.children = [child for child in self.children if child.returncode is None]

    async def restart(self):
        """Killed, and nobody there for a while."""
        with self.timeline.during(verdict.RESTART):
            await self.kill()
            await asyncio.sleep(0.7)
            await self.start()

    async def kill(self):
        self.socket.close()
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        self.children = []


class Soak:
    def __init__(self, minutes):
        self.seconds = minutes * 60
        self.timeline = verdict.Timeline()
        self.tally, self.series = verdict.Tally(self.timeline), verdict.Series()
        self.ending, self.rotations = asyncio.Event(), 0

    async def run(self, folder):
        self.issuer, self.upstream = await Issuer().start(), await Upstream(self.timeline).start()
        # A cache that is full after a minute, so that it does not grow after the warm-up.
        self.gate = Gate(folder, self.issuer, self.upstream.port, "--token-cache-size", "2MiB")
        try:
            await self.gate.start()
            return await self.under_load()
        finally:
            self.gate.stop()
            await self.upstream.kill()
            await self.issuer.stop()

    async def under_load(self):
        self.clients = Clients(self.gate.address, self.issuer, self.tally)
        await self.clients.kept_connection()
        self.clients.close()
        rest_before = await self.descriptors_at_rest()
        self.begun = time.monotonic()
        clients = [asyncio.create_task(keep_on(lambda kind=kind: kind(self.clients), pause, self.ending))
                   for kind, count, pause in KINDS for _ in range(count)]  # fmt: skip
        events = [asyncio.create_task(work()) for work in (self.rotate, self.events, self.watch)]
        try:
            await first_error([*clients, *events], self.seconds)
            await cancel(events)
            # What is under way still ends as it should.
            self.ending.set()
            await first_error(clients, 60)
        finally:
            await cancel([*clients, *events])
        self.clients.close()
        rest_after = await self.descriptors_at_rest()
        return await self.facts(rest_before, rest_after)

    async def facts(self, rest_before, rest_after):
        peak = self.gate.peak_mib()
        self.gate.terminate()
        return {
            "seconds": self.seconds,
            "warm_up": min(120, self.seconds / 4),
            "version": version(),
            "rotations": self.rotations,
            "fetches": len(self.issuer.fetches),
            "densest": most_within(self.issuer.fetches, 15),
            "peak": peak,
            "rest_before": rest_before,
            "rest_after": rest_after,
            "exit_code": await self.gate.ended(),
            "kinds": ["GET, kept connection", "GET, new connection", "POST", "slow head", "slow body", "slow reader"],
        }

    async def descriptors_at_rest(self):
        """When the connections of clients and those to the origin have ended, at the latest after 10 s."""
        counts = []
        for _ in range(10):
            await asyncio.sleep(1)
            counts.append(self.gate.descriptors())
            if len(counts) > 3 and len(set(counts[-3:])) == 1:
                break
        return counts[-1]

    async def rotate(self):
        while True:
            await asyncio.sleep(ROTATION)
            last = self.issuer.keys[-1:] if len(self.issuer.keys) == 3 else []
            await self.issuer.rotate()
            self.rotations += 1
            self.clients.retired = [*self.clients.retired, *last][-3:]

    async def events(self):
        trouble = contextlib.ExitStack()
        for minute in range(self.seconds // 60 + 1):
            for second, what in MINUTE:
                await self.until(60 * minute + second)
                if what in ("restart", "replace"):
                    await getattr(self.upstream, what)()
                    continue
                if what != "up":
                    trouble.enter_context(self.timeline.during(verdict.ISSUER))
                await self.issuer.become(what)
                if what == "up":
                    trouble.close()

    async def watch(self):
        for second in range(self.seconds):
            await self.until(second)
            if self.gate.child.poll() is not None:
                raise Failure(f"claimgate ended with {self.gate.child.returncode}:\n{self.gate.said()}")
            self.series.add(second, self.gate.memory_mib(), self.gate.descriptors())
            if second % 60 == 59:
                said = f"{second // 60 + 1} min: {self.tally.total()} requests, {self.tally.failed()} wrong, "
                print(f"{said}{self.series.samples[-1][1]:.1f} MiB", file=sys.stderr, flush=True)

    async def until(self, second):
        await asyncio.sleep(max(0, self.begun + second - time.monotonic()))


async def first_error(tasks, seconds):
    """Lets them go on for so long, or until one of them fails."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


def main():
    parser = argparse.ArgumentParser(prog="benches/soak/run", description=__doc__)
    parser.add_argument("--minutes", type=int, default=10, metavar="N", help="how long [10]")
    arguments = parser.parse_args()
    if arguments.minutes < 1:
        parser.error("at least one minute")
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory() as folder:
            # Builds it, where it is not given; before anything is started.
            claimgate_binary()
            soak = Soak(arguments.minutes)
            facts = asyncio.run(soak.run(pathlib.Path(folder)))
    except Failure as failure:
        sys.exit(f"benches/soak/run: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
    broken = verdict.show(soak.tally, soak.series, facts)
    if soak.tally.wrong:
        verdict.show_wrong(soak.tally)
    print("\n" + ("Every promise was kept." if not broken else f"BROKEN: {'; '.join(broken)}."))
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
