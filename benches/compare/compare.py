"""Measures proxies side by side: the same origin, the same issuer, the same load, in interleaved rounds."""

import argparse
import collections
import contextlib
import dataclasses
import signal
import sys

import crowd
import growth
import http2
import peers
import report
from bench import CONNECTIONS, SPARE_FILES, Bench, attempt, check_verdicts, in_turn, say
from process import Failure

LATENCY_RATE = 1000
#: For the memory that they take.
LEAST_TOKENS = 10_000
USUAL = "nginx,haproxy,envoy,claimgate"


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    #: The file of tokens, and whether it is sent again and again.
    file: str
    loops: bool
    #: Whether a check refuses them.
    refused: bool = False
    path: str = "/"
    #: At least so many bytes in an answer.
    size: int = 0


COLUMNS = [
    Column("same token", "same", True),
    Column("2,000 in rotation", "rotation", True),
    Column("first seen", "first seen", False),
    Column("bad signatures", "forged", False, refused=True),
    Column("same expired", "expired", True, refused=True),
    Column("64 KiB response", "same", True, path="/large", size=peers.LARGE),
]


def main():
    arguments = parse()
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        chosen = choose(arguments)
        with contextlib.ExitStack() as stack:
            bench = Bench(arguments, stack)
            results = [measure_round(bench, number, chosen) for number in range(arguments.rounds)]
            report.show(chosen, [column.name for column in COLUMNS], results, bench)
            if arguments.http2:
                report.show_http2(chosen, http2.measure(bench, chosen))
            if arguments.growth:
                report.show_growth(chosen, growth.measure(bench, chosen), bench.open_files)
    except Failure as failure:
        sys.exit(f"benches/compare/run: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


def parse():
    parser = argparse.ArgumentParser(prog="benches/compare/run", description=__doc__)
    names = ", ".join(peer.name for peer in peers.PEERS)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds, each with all proxies [5]")
    parser.add_argument("--seconds", type=int, default=5, metavar="S", help="for each measurement, at most [5]")
    parser.add_argument("--tokens", type=int, default=40000, metavar="N", help="never seen before, each round [40000]")
    parser.add_argument("--only", default=USUAL, metavar="A,B", help=f"which ones, of {names} [{USUAL}]")
    parser.add_argument("--http2", action="store_true", help="also with HTTP/2 towards the clients")
    parser.add_argument("--growth", action="store_true", help="also with more connections, token caches and workers")
    braces = "{listen} (HOST:PORT), {origin} (URL), {issuer} (URL) and {jwks} (URL) are filled in"
    parser.add_argument("--proxy", action="append", default=[], metavar="NAME=COMMAND", help=f"another one; {braces}")
    parser.add_argument("--plain-proxy", action="append", default=[], metavar="NAME=COMMAND", help="one without checks")
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.seconds) < 1 or arguments.tokens < LEAST_TOKENS:
        parser.error(f"at least one round, one second and {LEAST_TOKENS} tokens")
    return arguments


def choose(arguments):
    known = {peer.name: peer for peer in peers.PEERS}
    try:
        chosen = [known[name] for name in arguments.only.split(",") if name]
    except KeyError as name:
        raise Failure(f"{name} is not known, only {', '.join(known)}") from None
    chosen += [peers.given(text, True) for text in arguments.proxy]
    chosen += [peers.given(text, False) for text in arguments.plain_proxy]
    if not chosen or len({peer.name for peer in chosen}) < len(chosen):
        raise Failure("each proxy needs a name of its own, and there must be one")
    return chosen


def measure_round(bench, number, chosen):
    """Every column through every proxy, all of them running, one of them loaded."""
    say(f"round {number + 1} of {bench.arguments.rounds}")
    order = in_turn(chosen, number)
    results = collections.defaultdict(dict)
    with contextlib.ExitStack() as stack:
        for peer in order:
            process, results[peer.name]["start"] = bench.start(peer, stack)
            check_verdicts(peer, process, bench.tokens)
            results[peer.name] |= {"process": process, "idle": process.memory_mib()}
        for column in COLUMNS:
            for peer in order:
                result = results[peer.name]
                result[column.name] = measure(bench, peer, result["process"], column)
        for peer in order:
            process = results[peer.name].pop("process")
            results[peer.name] |= {"used": process.memory_mib(), "paced": paced(bench, process)}
        results["direct"]["paced"] = paced(bench, bench.origin)
    for peer in order:
        results[peer.name] |= memory(bench, peer)
    return results


def measure(bench, peer, process, column):
    mode = "loop" if column.loops else "once"
    seconds = bench.arguments.seconds
    if column.loops:
        # The first pass: what can be remembered is remembered after it.
        bench.load(process.address, column.file, "once" if column.file == "rotation" else "loop", 1, path=column.path)
    before = process.cpu_seconds()
    load = bench.load(process.address, column.file, mode, seconds, path=column.path)
    load["cpu"] = (process.cpu_seconds() - before) / load["requests"] * 100_000
    expected = load["requests"] if column.refused and peer.checks else 0
    if load["refused"] != expected or load["broken"]:
        raise Failure(f"{peer.name}, {column.name}: of {load['requests']} requests {expected} should be refused: {load}")
    if load["bytes"] < load["requests"] * column.size:
        raise Failure(f"{peer.name}, {column.name}: answers of less than {column.size} bytes: {load}")
    return load


def paced(bench, process):
    return bench.load(process.address, "same", "loop", bench.arguments.seconds, pause=CONNECTIONS * 1000 // LATENCY_RATE)


def memory(bench, peer):
    """Of processes that have done nothing else: after tokens, and with connections."""
    with contextlib.ExitStack() as stack:
        process, _ = bench.start(peer, stack)
        bench.load(process.address, "few", "once", 60)
        tokens = process.memory_mib()
    return {"tokens": tokens, "crowd": attempt(f"{peer.name}, memory per connection", lambda: idle_crowd(bench, peer))}


def idle_crowd(bench, peer):
    with contextlib.ExitStack() as stack:
        process, _ = bench.start(peer, stack, connections=bench.crowd_size + SPARE_FILES)
        return crowd.memory_per_connection(process, bench.crowd_size, bench.tokens.good)


if __name__ == "__main__":
    main()
