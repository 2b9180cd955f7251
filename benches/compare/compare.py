"""Measures proxies side by side: the same origin, the same issuer, the same load, in interleaved rounds."""

import argparse
import collections
import contextlib
import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading

import peers
import report
from process import Failure, Process, free_port, status

HERE = pathlib.Path(__file__).resolve().parent
CONNECTIONS = 32
LATENCY_RATE = 1000
USUAL = "nginx,haproxy,envoy,claimgate"

#: name of the column, file of tokens, whether the file is sent again and again, whether a check refuses it
COLUMNS = [
    ("same token", "same", "loop", False),
    ("2,000 in rotation", "rotation", "loop", False),
    ("first seen", "first seen", "once", False),
    ("bad signatures", "forged", "once", True),
    ("same expired", "expired", "loop", True),
]


def main():
    arguments = parse()
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        chosen = choose(arguments)
        with contextlib.ExitStack() as stack:
            bench = Bench(arguments, stack)
            results = [bench.round(number, chosen) for number in range(arguments.rounds)]
        report.show(chosen, [name for name, *_ in COLUMNS], results, arguments)
    except Failure as failure:
        sys.exit(f"benches/compare/run: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


def parse():
    parser = argparse.ArgumentParser(prog="benches/compare/run", description=__doc__)
    names = ", ".join(peer.name for peer in peers.PEERS)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds, each with all proxies [5]")
    parser.add_argument("--seconds", type=int, default=5, metavar="S", help="for each measurement, at most [5]")
    parser.add_argument("--tokens", type=int, default=40000, metavar="N", help="tokens never seen before, each round [40000]")
    parser.add_argument("--only", default=USUAL, metavar="A,B", help=f"which ones, of {names} [{USUAL}]")
    braces = "{listen} (HOST:PORT), {origin} (URL), {issuer} (URL) and {jwks} (URL) are filled in"
    parser.add_argument("--proxy", action="append", default=[], metavar="NAME=COMMAND", help=f"another one; {braces}")
    parser.add_argument("--plain-proxy", action="append", default=[], metavar="NAME=COMMAND", help="the same, without checks")
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.seconds) < 1 or arguments.tokens < 1000:
        parser.error("at least one round, one second and 1000 tokens")
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


class Issuer:
    """A static key set over HTTP, on a thread of this process."""

    def __init__(self, jwks):
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = self.path == "/.well-known/jwks.json"
                self.send_response(200 if found else 404)
                body = jwks if found else b""
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Bench:
    """What all proxies share: origin, issuer, tokens, cores."""

    def __init__(self, arguments, stack):
        import tokens  # needs more than the standard library, --help does not

        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise Failure("two cores are needed: one for the proxy, one for the generator and the origin")
        self.arguments, self.folder = arguments, pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        key = tokens.Key()
        self.pem = self.folder / "issuer.pem"
        self.pem.write_bytes(key.pem)
        self.issuer = Issuer(key.jwks)
        say(f"minting {arguments.tokens} tokens")
        self.tokens = tokens.Tokens(self.folder, key, self.issuer.url, arguments.tokens)
        self.proxy_core, self.other_core = cores[0], cores[1]
        os.sched_setaffinity(0, {self.other_core})
        self.origin_port = free_port()
        folder = self.folder / "origin"
        folder.mkdir()
        origin = Process("origin", peers.origin_command(folder, self.origin_port), self.other_core, folder)
        stack.callback(origin.stop)
        origin.wait_for(("127.0.0.1", self.origin_port), None)

    def round(self, number, chosen):
        """Every column through every proxy, all of them running, one of them loaded. Who begins changes."""
        say(f"round {number + 1} of {self.arguments.rounds}")
        first = number % len(chosen)
        order = chosen[first:] + chosen[:first]
        results = collections.defaultdict(dict)
        with contextlib.ExitStack() as stack:
            gates = [(peer, results[peer.name], *self.start(peer, results[peer.name], stack)) for peer in order]
            for column in COLUMNS:
                for peer, result, process, port in gates:
                    result[column[0]] = self.measure(peer, process, port, column)
            for peer, result, process, port in gates:
                result["paced"] = self.paced(port)
                result["used"] = process.memory_mib()
            results["direct"]["paced"] = self.paced(self.origin_port)
        return results

    def start(self, peer, result, stack):
        port = free_port()
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
        jwks = self.issuer.url + "/.well-known/jwks.json"
        place = peers.Place(folder, port, self.origin_port, self.issuer.port, self.issuer.url, jwks, self.pem)
        process = Process(peer.name, peer.command(place), self.proxy_core, folder)
        stack.callback(process.stop)
        result["start"] = process.wait_for(("127.0.0.1", port), self.tokens.good)
        check_verdicts(peer, ("127.0.0.1", port), self.tokens)
        result["idle"] = process.memory_mib()
        return process, port

    def measure(self, peer, process, port, column):
        name, file, mode, refused = column
        if mode == "loop":
            # The first pass: what can be remembered is remembered after it.
            self.load(port, file, "once" if file == "rotation" else "loop", 1)
        before = process.cpu_seconds()
        load = self.load(port, file, mode, self.arguments.seconds)
        load["cpu"] = (process.cpu_seconds() - before) / load["requests"] * 100_000
        expected = load["requests"] if refused and peer.checks else 0
        if load["refused"] != expected or load["broken"]:
            raise Failure(f"{peer.name}, {name}: of {load['requests']} requests {expected} should be refused: {load}")
        return load

    def paced(self, port):
        return self.load(port, "same", "loop", self.arguments.seconds, CONNECTIONS * 1000 // LATENCY_RATE)

    def load(self, port, file, mode, seconds, pause=0):
        command = ["taskset", "-c", str(self.other_core), peers.tool("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
        command += ["--timeout", "5s", "-s", str(HERE / "requests.lua"), f"http://127.0.0.1:{port}/", "--"]
        command += [str(self.tokens.files[file]), mode, str(pause)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            raise Failure(f"wrk: {done.stdout}{done.stderr}")
        load = json.loads(lines[-1])
        if not load["requests"]:
            raise Failure(f"no request was answered: {load}")
        return load


def check_verdicts(peer, address, tokens):
    """A proxy that lets a bad token through is not measured."""
    refusal = (401, 403) if peer.checks else (200,)
    for what, token, expected in [
        ("a good token", tokens.good, (200,)),
        ("no token", None, refusal),
        ("an expired token", tokens.expired, refusal),
        ("a bad signature", tokens.forged, refusal),
    ]:
        found = status(address, token)
        if found not in expected:
            raise Failure(f"{peer.name} answers {found} to {what}, not {' or '.join(map(str, expected))}")


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
