"""What floods cost: resident memory, and a good client's answers meanwhile."""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import pathlib
import random
import resource
import signal
import socket
import statistics
import string
import subprocess
import sys
import tempfile
import time

import flood
import origin
from client import Broken, Connection, cancel, head
from gate import Gate, version
from issuer import Issuer, base64url, most_within
from peers import tool
from process import Failure
from report import machine, table

HERE = pathlib.Path(__file__).resolve().parent
HEADS, BODIES, KIDS_PER_SECOND, KIDS_AT_LEAST = 10_000, 1_000, 3_000, 15_000
#: More than may wait, 1,024 for each worker: the rest are answered at once.
WORKERS, KID_CONNECTIONS = 2, 2_400
SECONDS = 10
#: Room for all of them at once; with the default, 10,000, the slow ones would leave none for the good client.
MAX_CONNECTIONS = 14_000
DESCRIPTORS = 16_384
#: For one kind of flood. What all at once take is told, not judged.
LIMIT_MIB, LIMIT_FETCHES = 64, 3
#: A flood that is less than this part of what it should be proves nothing.
LEAST = 0.7

HEAD_FLOOD, BODY_FLOOD = ("heads", HEADS), ("bodies", BODIES)
ALL = "(a), (b) and (c) at once"
#: Name, floods of flood.py, whether wrk sends as many made-up kids as it can.
PHASES = [
    ("no flood", [], False),
    ("(a) 10,000 slow heads", [HEAD_FLOOD], False),
    ("(b) 1,000 slow bodies", [BODY_FLOOD], False),
    ("(c) made-up kids, as many as go", [], True),
    ("(d) 3,000 made-up kids/s", [("kids", KIDS_PER_SECOND)], False),
    (ALL, [HEAD_FLOOD, BODY_FLOOD], True),
]


class GoodClient:
    """Four kept connections and a new one five times a second, while the flood goes on."""

    def __init__(self, gate, issuer):
        self.gate, self.issuer = gate, issuer
        self.tokens = [issuer.token() for _ in range(50)]
        self.times, self.failures = [], []

    async def kept(self):
        connection = None
        while True:
            if not (connection and connection.is_open):
                connection = await self.connection()
            await self.ask(connection)
            await asyncio.sleep(random.uniform(0, 0.04))

    async def new(self):
        while True:
            if connection := await self.connection():
                await self.ask(connection)
                connection.close()
            await asyncio.sleep(0.2)

    async def connection(self):
        try:
            return await Connection.open(self.gate.address)
        except Broken as error:
            self.failures.append(str(error))

    async def ask(self, connection):
        if not connection:
            return
        begun = time.perf_counter()
        try:
            # One in five was never seen before.
            token = self.issuer.token() if random.random() < 0.2 else random.choice(self.tokens)
            answer = await connection.ask(head("/", token))
            if answer.kind != "200":
                self.failures.append(answer.kind)
        except Broken as error:
            self.failures.append(str(error))
        self.times.append(time.perf_counter() - begun)


class Bench:
    def __init__(self, stack):
        self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))

    async def run(self):
        self.issuer = await Issuer().start()
        async with self.service() as self.origin_port:
            return [await self.phase(*phase) for phase in PHASES]

    @contextlib.asynccontextmanager
    async def service(self):
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        child = await origin.spawn(listener)
        try:
            yield listener.getsockname()[1]
        finally:
            child.kill()
            await child.wait()

    async def phase(self, name, floods, with_wrk):
        print(name, file=sys.stderr, flush=True)
        folder = tempfile.mkdtemp(dir=self.folder)
        flags = ["--workers", str(WORKERS), "--max-connections", str(MAX_CONNECTIONS)]
        gate = Gate(folder, self.issuer, self.origin_port, *flags)
        children = []
        try:
            await gate.start()
            result = {"name": name, "idle": gate.memory_mib()}
            for kind, count in floods:
                children.append(await self.flood(gate, kind, count))
            await self.measure(gate, result, children, with_wrk)
            if gate.child.poll() is not None:
                raise Failure(f"claimgate ended with {gate.child.returncode}:\n{gate.said()}")
            return result
        finally:
            for child in children:
                if child.returncode is None:
                    child.kill()
                    await child.wait()
            await gate.kill()

    async def flood(self, gate, kind, count):
        token = self.issuer.token()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-B", flood.__file__, kind, *map(str, gate.address), str(count), token, stdout=subprocess.PIPE
        )  # fmt: skip
        try:
            said = await asyncio.wait_for(child.stdout.readline(), 60)
        except asyncio.TimeoutError:
            child.kill()
            raise Failure(f"{count} {kind} are not open after 60 s; {gate.descriptors()} descriptors") from None
        if said != b"ready\n":
            await child.wait()
            raise Failure(f"the flood of {count} {kind} ended before it began")
        return child

    async def measure(self, gate, result, children, with_wrk):
        good, fetches = GoodClient(gate, self.issuer), len(self.issuer.fetches)
        clients = [asyncio.create_task(work()) for work in (good.kept,) * 4 + (good.new,)]
        begun = time.monotonic()
        wrk = await self.wrk(gate) if with_wrk else None
        result["connections"] = 0
        for tick in range(2 * SECONDS):
            await asyncio.sleep(begun + tick / 2 - time.monotonic())
            connections = (await gate.metrics())["claimgate_client_connections"]
            result["connections"] = max(result["connections"], connections)
        await cancel(clients)
        for client in clients:
            if not client.cancelled():
                # It failed of itself.
                client.result()
        result |= {"peak": gate.peak_mib(), "good": good}
        result["fetches"] = most_within(self.issuer.fetches[fetches:], 15)
        reports = [await ended(child) for child in children] + ([await self.said(wrk)] if wrk else [])
        result["floods"] = [said for said, _ in reports]
        result["sizes"] = [size for _, size in reports]

    async def wrk(self, gate):
        groups = self.folder / "groups"
        if not groups.exists():
            names = itertools.product(string.ascii_lowercase[:16], repeat=3)
            groups.write_text("".join(base64url("".join(name).encode()) + "\n" for name in names))
        payload = self.issuer.token().partition(".")[2]
        command = [tool("wrk"), "-t1", f"-c{KID_CONNECTIONS}", f"-d{SECONDS}s", "--timeout", "30s", "-s", HERE / "kids.lua"]
        command += ["http://{}:{}/".format(*gate.address), "--", groups, payload]
        return await asyncio.create_subprocess_exec(*map(str, command), stdout=subprocess.PIPE)

    async def said(self, wrk):
        lines = (await wrk.communicate())[0].decode().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        if wrk.returncode or not found or found[0]["refused"] != found[0]["requests"] or found[0]["broken"]:
            raise Failure(f"wrk: {' '.join(lines)}")
        rate = found[0]["requests"] / found[0]["seconds"]
        return f"{rate:,.0f} kids/s", rate / KIDS_AT_LEAST


async def ended(child):
    """What a flood says of itself, and what part it was of what it should be."""
    child.terminate()
    report = json.loads((await child.communicate())[0])
    outcomes = ", ".join(f"{count} × {outcome}" for outcome, count in report["outcomes"].items())
    if report["sent"]:
        rate = report["sent"] / SECONDS
        return f"{rate:,.0f} kids/s: {outcomes}", rate / KIDS_PER_SECOND
    # Each that was closed was opened again.
    opened = report["open"] + sum(count for outcome, count in report["outcomes"].items() if outcome.isdigit())
    return f"{report['open']} open{': ' + outcomes if outcomes else ''}", opened / report["count"]


def show(results):
    print(f"\n{machine()}; {version()}, {WORKERS} workers; {SECONDS} s each.\n")
    heads = ["MiB before", "MiB at most", "connections at most", "good client: p50", "p99", "failed", "fetches in 15 s", "the flood"]
    rows = []
    for result in results:
        good = result["good"]
        cuts = statistics.quantiles(good.times, n=100)
        rows.append((result["name"], [
            f"{result['idle']:.1f}", f"{result['peak']:.1f}", f"{result['connections']:.0f}", f"{cuts[49] * 1000:.1f} ms",
            f"{cuts[98] * 1000:.1f} ms", f"{len(good.failures)} of {len(good.times)}", str(result["fetches"]),
            "; ".join(result["floods"]) or "–",
        ]))  # fmt: skip
    table(heads, rows)


def broken(results):
    promises = []
    for result in results:
        name, failures = result["name"], result["good"].failures
        promises += [
            (f"{name}: {len(failures)} of the good client's requests failed: {sorted(set(failures))}", not failures),
            (f"{name}: {result['fetches']} fetches in 15 s", result["fetches"] <= LIMIT_FETCHES),
            (f"{name}: {result['peak']:.1f} MiB", result["peak"] <= LIMIT_MIB or name == ALL),
            (f"{name}: no flood worth the name", all(size >= LEAST for size in result["sizes"])),
        ]
    return [text for text, holds in promises if not holds]


def main():
    argparse.ArgumentParser(prog="benches/floods/run", description=__doc__).parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < DESCRIPTORS:
            raise Failure(f"{DESCRIPTORS} descriptors are needed, and the limit is {hard} (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        with contextlib.ExitStack() as stack:
            results = asyncio.run(Bench(stack).run())
    except Failure as failure:
        sys.exit(f"benches/floods/run: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
    show(results)
    promises = broken(results)
    print("Every promise was kept." if not promises else "BROKEN:\n" + "\n".join(f"- {promise}" for promise in promises))
    sys.exit(bool(promises))


if __name__ == "__main__":
    main()
