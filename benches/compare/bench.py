"""What all proxies share: origin, issuer, tokens and cores; and the load that one of them gets."""

import contextlib
import http.server
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

import peers
from crowd import CROWD
from process import PATIENCE, Failure, Process, fetch, free_port, listed, status

HERE = pathlib.Path(__file__).resolve().parent
CONNECTIONS = 32
#: What a process has open beside the connections that are counted.
SPARE_FILES = 256


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
    def __init__(self, arguments, stack):
        import tokens  # needs more than the standard library, --help does not

        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise Failure("two cores are needed: one for the proxy, one for the generator and the origin")
        self.open_files = open_files()
        self.crowd_size = min(CROWD, self.open_files - SPARE_FILES)
        if self.crowd_size < CROWD:
            say(f"{self.crowd_size} connections instead of {CROWD}: no more than {self.open_files} files may be open")
        self.arguments, self.folder = arguments, pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        key = tokens.Key.rsa()
        self.pem = self.folder / "issuer.pem"
        self.pem.write_bytes(key.pem)
        self.issuer = Issuer(key.jwks)
        say(f"minting {arguments.tokens} tokens")
        self.tokens = tokens.Tokens(self.folder, key, self.issuer.url, arguments.tokens)
        self.proxy_cores, self.other_cores = cores[:1], cores[2:4] or cores[1:2]
        #: For two workers: with two cores the second one is not theirs alone.
        self.both_cores = cores[:2]
        os.sched_setaffinity(0, self.other_cores)
        self.origin_port = free_port()
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
        command = peers.origin_command(folder, self.origin_port, min(self.open_files, 1 << 15) - SPARE_FILES)
        self.origin = Process("origin", command, self.origin_port, self.other_cores, folder)
        stack.callback(self.origin.stop)
        self.origin.wait_for_200(None)

    def start(self, peer, stack, cores=None, issuer=None, token=None, **wishes):
        """A proxy on a core of its own or on these, when it gave its first 200; and how long that took, in seconds."""
        issuer = issuer or self.issuer
        port = free_port()
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
        jwks = issuer.url + "/.well-known/jwks.json"
        place = peers.Place(folder, port, self.origin_port, issuer.port, issuer.url, jwks, self.pem, **wishes)
        process = Process(peer.name, peer.command(place), port, cores or self.proxy_cores, folder)
        stack.callback(process.stop)
        return process, process.wait_for_200(token or self.tokens.good)

    def load(self, address, file, mode, seconds, **wishes):
        """As many requests as a few connections can send, or fewer with a pause."""
        command = self.wrk(address, CONNECTIONS, seconds, file, mode, **wishes)
        before = children_seconds()
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
        load = read_load(done.stdout, done.stderr)
        load["generator_cpu"] = children_seconds() - before
        return load

    @contextlib.contextmanager
    def crowd(self, process, connections, seconds):
        """While this many connections send as much as they can; all of them are there when it begins."""
        seconds += 2 * PATIENCE
        command = self.wrk(process.address, connections, seconds, "same", "loop")
        wrk = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            process.wait_for_open_files(connections)
            # Their first requests came at once, and found no connection to the origin.
            self.wait_for_served(2 * connections)
            yield
            wrk.send_signal(signal.SIGINT)
            load = read_load(*wrk.communicate(timeout=60))
            if load["refused"] or load["broken"]:
                raise Failure(f"{process.name}, {connections} connections: {load}")
        finally:
            wrk.kill()
            wrk.wait()

    def wrk(self, address, connections, seconds, file, mode, pause=0, path="/"):
        url = "http://{}:{}/".format(*address)
        command = ["taskset", "-c", listed(self.other_cores), peers.tool("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s"]
        command += ["--timeout", "5s", "-s", str(HERE / "requests.lua"), url, "--"]
        return [*command, str(self.tokens.files.get(file, file)), mode, str(pause), path]

    def wait_for_served(self, count):
        begun, deadline = self.served(), time.perf_counter() + PATIENCE
        while (found := self.served() - begun) < count:
            if time.perf_counter() > deadline:
                raise Failure(f"{found} answers in {PATIENCE} s, not {count}")
            time.sleep(0.2)

    def served(self):
        """How many requests the origin has had."""
        return int(fetch(self.origin.address, "/status").partition("requests\n")[2].split()[2])


def read_load(output, errors):
    lines = [line for line in output.splitlines() if line.startswith("{")]
    load = json.loads(lines[-1]) if lines else {"requests": 0}
    if not load["requests"]:
        raise Failure(f"wrk: no request was answered: {output}{errors}")
    return load


def check_verdicts(peer, process, tokens):
    """A proxy that lets a bad token through is not measured."""
    refusal = (401, 403) if peer.checks else (200,)
    for what, token, expected in [
        ("a good token", tokens.good, (200,)),
        ("no token", None, refusal),
        ("an expired token", tokens.expired, refusal),
        ("a bad signature", tokens.forged, refusal),
    ]:
        found = status(process.address, token)
        if found not in expected:
            raise Failure(f"{peer.name} answers {found} to {what}, not {' or '.join(map(str, expected))}")


def open_files():
    """As many as the system gives without asking anybody; the processes that are started have the same limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        most = 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def in_turn(chosen, number):
    """Who begins changes."""
    first = number % len(chosen)
    return chosen[first:] + chosen[:first]


def children_seconds():
    """CPU time of the children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def attempt(what, measure):
    """What is measured, or None with a word about it: a proxy that cannot hold a crowd has no figure there."""
    try:
        return measure()
    except (Failure, OSError) as failure:
        say(f"{what}: not measured: {failure}")
        return None


def say(text):
    print(text, file=sys.stderr, flush=True)
