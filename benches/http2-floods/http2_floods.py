"""What floods of HTTP/2 frames cost: resident memory, CPU time, and a good client's answers meanwhile."""

import argparse
import asyncio
import contextlib
import json
import random
import resource
import signal
import statistics
import sys
import tempfile
import time

import floods
import frames
from client import cancel
from gate import Gate, version
from issuer import Issuer
from process import Failure
from report import machine, table

SECONDS, WORKERS = 6, 2
LIMIT_MIB = 64
#: A flood that sends less, or was never ended, proves nothing.
LEAST_MIB = 1
PHASES = [
    ("no flood", None),
    ("`PING`", "ping"),
    ("`SETTINGS`", "settings"),
    ("`WINDOW_UPDATE`", "window"),
    ("`PRIORITY`", "priority"),
    ("frames of no known kind", "unknown"),
    ("`DATA` without a byte", "data"),
    ("`CONTINUATION` without end", "continuation"),
    ("streams begun and reset (rapid reset)", "reset"),
    ("streams that we are made to reset (MadeYouReset)", "provoke"),
    ("a list of fields of 60 MB in 16 KB (HPACK)", "bomb"),
    ("10 clients with 100 answers of 64 KiB unread each", "held"),
    ("2,000 clients at rest after a request", "idle"),
]


class GoodClient(floods.GoodClient):
    """That of the other floods, and one that speaks HTTP/2."""

    async def http2(self):
        client = frames.Client(self.gate.address)
        while True:
            begun = time.perf_counter()
            try:
                said = await asyncio.wait_for(client.ask(random.choice(self.tokens)), 25)
            except (OSError, EOFError, asyncio.TimeoutError) as error:
                said = f"HTTP/2: {type(error).__name__}"
                client.close()
            if said != "200":
                self.failures.append(said)
            self.times.append(time.perf_counter() - begun)
            await asyncio.sleep(random.uniform(0, 0.02))


class Bench(floods.Bench):
    async def run(self):
        self.issuer = await Issuer().start()
        async with self.service() as self.origin_port:
            return [await self.phase(*phase) for phase in PHASES]

    async def phase(self, name, kind):
        print(name, file=sys.stderr, flush=True)
        gate = Gate(tempfile.mkdtemp(dir=self.folder), self.issuer, self.origin_port, "--workers", str(WORKERS))
        child = None
        try:
            await gate.start()
            result = {"name": name, "kind": kind, "idle": gate.memory_mib()}
            begun = gate.cpu_seconds()
            if kind:
                child = await self.flood(gate, kind)
            await self.measure(gate, result)
            if child:
                child.send_signal(signal.SIGTERM)
                result["flood"] = json.loads((await child.communicate())[0])
            # As a good client's requests take some, too: beside that without a flood.
            result["cpu"] = (gate.cpu_seconds() - begun) / SECONDS
            if gate.child.poll() is not None:
                raise Failure(f"claimgate ended with {gate.child.returncode}:\n{gate.said()}")
            return result
        finally:
            if child and child.returncode is None:
                child.kill()
                await child.wait()
            await gate.kill()

    async def flood(self, gate, kind):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-B", frames.__file__, kind, *map(str, gate.address), self.issuer.token(), stdout=asyncio.subprocess.PIPE
        )  # fmt: skip
        if await asyncio.wait_for(child.stdout.readline(), 60) != b"ready\n":
            raise Failure(f"the flood of {kind} ended before it began")
        return child

    async def measure(self, gate, result):
        good = GoodClient(gate, self.issuer)
        clients = [asyncio.create_task(work()) for work in (good.kept, good.kept, good.new, good.http2, good.http2)]
        await asyncio.sleep(SECONDS)
        await cancel(clients)
        for client in clients:
            if not client.cancelled():
                # It failed of itself.
                client.result()
        result |= {"peak": gate.peak_mib(), "good": good}


def show(results):
    print(f"\n{machine()}; {version()}, {WORKERS} workers; {SECONDS} s each.\n")
    heads = ["MiB before", "MiB at most", "cores in use", "sent, MiB/s", "connections ended", "good client: p50", "p99", "failed"]
    rows = []
    for result in results:
        good, flood = result["good"], result.get("flood", {"sent": 0, "ended": 0})
        cuts = statistics.quantiles(good.times, n=100)
        rows.append((result["name"], [
            f"{result['idle']:.1f}", f"{result['peak']:.1f}", f"{result['cpu']:.2f}", f"{flood['sent'] / SECONDS / 2**20:.0f}",
            str(flood["ended"]), f"{cuts[49] * 1000:.1f} ms", f"{cuts[98] * 1000:.1f} ms", f"{len(good.failures)} of {len(good.times)}",
        ]))  # fmt: skip
    table(heads, rows)


def broken(results):
    promises = []
    for result in results:
        name, failures, flood = result["name"], result["good"].failures, result.get("flood")
        is_flood = result["kind"] in frames.KINDS
        promises += [
            (f"{name}: {len(failures)} of the good client's requests failed: {sorted(set(failures))}", not failures),
            (f"{name}: {result['peak']:.1f} MiB", result["peak"] <= LIMIT_MIB or result["kind"] in ("held", "idle")),
            (f"{name}: not ended", not is_flood or flood["ended"] > 0),
            (f"{name}: no flood worth the name", not is_flood or flood["sent"] >= LEAST_MIB * 2**20),
        ]
    return [text for text, holds in promises if not holds]


def main():
    argparse.ArgumentParser(prog="benches/http2-floods/run", description=__doc__).parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        with contextlib.ExitStack() as stack:
            results = asyncio.run(Bench(stack).run())
    except Failure as failure:
        sys.exit(f"benches/http2-floods/run: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
    show(results)
    promises = broken(results)
    print("Every promise was kept." if not promises else "BROKEN:\n" + "\n".join(f"- {promise}" for promise in promises))
    sys.exit(bool(promises))


if __name__ == "__main__":
    main()
