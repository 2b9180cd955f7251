"""What HTTP/2 towards clients costs, HTTP/1.1 towards the origin: each proxy doing the same."""

import contextlib
import re
import subprocess

import peers
from bench import check_verdicts, in_turn, say
from process import Failure, free_port, listed

#: 32 requests at a time, as elsewhere: on as many connections as a few clients have, or all of them on one.
SHAPES = {"8 connections of 4 streams": (8, 4), "1 connection of 32 streams": (1, 32)}


def measure(bench, chosen):
    # Of a proxy from the command line it is not known where it takes HTTP/2.
    able = [peer for peer in chosen if not peer.given]
    rounds = []
    for number in range(bench.arguments.rounds):
        say(f"HTTP/2, round {number + 1} of {bench.arguments.rounds}")
        found = {peer.name: {} for peer in able}
        with contextlib.ExitStack() as stack:
            running = [(peer, *start(bench, peer, stack)) for peer in in_turn(able, number)]
            for shape in SHAPES:
                for peer, process, port in running:
                    found[peer.name][shape] = cost(bench, process, port, shape)
        rounds.append(found)
    return rounds


def start(bench, peer, stack):
    port = free_port()
    process, _ = bench.start(peer, stack, http2_port=port)
    check_verdicts(peer, process, bench.tokens)
    return process, port if peer.own_http2_port else process.address[1]


def cost(bench, process, port, shape):
    """CPU-seconds per 100,000 requests with one token."""
    load(bench, process, port, shape, 1)
    before = process.cpu_seconds()
    requests = load(bench, process, port, shape, bench.arguments.seconds)
    return (process.cpu_seconds() - before) / requests * 100_000


def load(bench, process, port, shape, seconds):
    connections, streams = SHAPES[shape]
    command = ["taskset", "-c", listed(bench.other_cores), peers.tool("h2load"), "-c", connections, "-m", streams]
    command += ["-D", seconds, "-H", f"authorization: Bearer {bench.tokens.good}", f"http://127.0.0.1:{port}/"]
    said = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=seconds + 60).stdout
    done = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", said)
    if not done or int(done[2]) == 0 or int(done[1]) != int(done[2]) or "0 failed, 0 errored" not in done[0]:
        raise Failure(f"{process.name}: HTTP/2: {said[-800:]}")
    return int(done[2])
