"""Watches what a gate runs from its start until it rests, and writes the linker script that puts it together."""

import argparse
import bisect
import collections
import contextlib
import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import peers
import process
from bench import Bench, check_verdicts, say

SCRIPT = peers.ROOT / "layout.ld"
TOKENS = argparse.Namespace(tokens=100)
REQUESTS = 20
#: How much that is never run may lie among the rest, if that saves a line. In bytes.
LINE = 1024
#: A name is cut between these only.
PART = re.compile(r"[A-Za-z_]+\$?|\d+|\$[^$]*\$|\.\.|.")

HEAD = """\
/* Written by benches/layout/run: the functions that a gate runs from its start until it rests, by what
   their names begin with. All others lie behind them, as they would without it. */
SECTIONS
{
  .text.layout :
  {
"""
TAIL = """\
  }
}
INSERT BEFORE .text;
"""


def main():
    binary = peers.claimgate_binary()
    # Everything is slower under valgrind.
    process.PATIENCE = 300
    with contextlib.ExitStack() as stack:
        bench = Bench(TOKENS, stack)
        executed = watch(bench, stack, binary)
    functions = symbols(binary)
    touched = touched_functions(functions, executed)
    if len(touched) < 500:
        sys.exit(f"only {len(touched)} functions were seen: has {binary} symbols?")
    lines = patterns(functions, touched)
    SCRIPT.write_text(HEAD + "".join(f"    *(.text*.{name})\n" for name in lines) + TAIL)
    say(f"{len(touched)} functions of {len(functions)} in {len(lines)} lines")


def watch(bench, stack, binary):
    """The addresses of the instructions that it runs."""
    out = bench.folder / "callgrind"
    admin, health = (f"127.0.0.1:{process.free_port()}" for _ in range(2))
    valgrind = ["valgrind", "--tool=callgrind", "--dump-instr=yes", f"--callgrind-out-file={out}"]
    gate = next(peer for peer in peers.PEERS if peer.name == "claimgate")
    watched = dataclasses.replace(gate, command=lambda place: [*valgrind, *gate.command(place)])
    gate, _ = bench.start(watched, stack, admin=admin, options=("--health-listen", health))
    check_verdicts(watched, gate, bench.tokens)
    for port in (admin, health):
        address = (port.split(":")[0], int(port.split(":")[1]))
        for path in ("/livez", "/readyz", "/metrics"):
            process.fetch(address, path)
    keep_asking(gate.address, bench.tokens.good)
    gate.stop()
    return addresses(out, binary)


def keep_asking(address, token):
    """On one connection, while a second one asks too."""
    host = "{}:{}".format(*address)
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    with process.socket.create_connection(address, timeout=60) as one, process.socket.create_connection(address, timeout=60) as two:
        for _ in range(REQUESTS):
            for connection in (one, two):
                connection.sendall(request)
            for connection in (one, two):
                answer = b""
                while not answer.endswith(b"ok\n"):
                    answer += connection.recv(4096) or sys.exit("the gate closed a connection")


def addresses(out, binary):
    """Of callgrind's file: each line of costs begins with an address, most of them relative to the one before."""
    names, current, address, found = {}, None, 0, set()
    with open(out) as lines:
        for line in lines:
            if named := re.match(r"(c?ob)=(\(\d+\))(?: (.*))?$", line.rstrip()):
                kind, key, name = named.groups()
                names.setdefault(key, name)
                current = names[key] if kind == "ob" else current
            elif cost := re.match(r"(0x[0-9a-f]+|[+-](?:0x)?[0-9a-f]+|\*) ", line):
                step = cost[1]
                if step[0] in "+-":
                    address += int(step, 0)
                elif step != "*":
                    address = int(step, 16)
                if current == str(binary):
                    found.add(address)
    return found


def symbols(binary):
    """(address, size, name) of each function, in the order of addresses."""
    command = ["nm", "--numeric-sort", "--print-size", "--radix=d", binary]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = (line.split(None, 3) for line in lines)
    return [(int(row[0]), int(row[1]), row[3]) for row in rows if len(row) == 4 and row[2] in "tTwW"]


def touched_functions(functions, executed):
    starts = [function[0] for function in functions]
    found = set()
    for address in executed:
        index = bisect.bisect_right(starts, address) - 1
        if index >= 0 and address < starts[index] + functions[index][1]:
            found.add(functions[index])
    return found


def pattern(name):
    """A name without hashes, versions and lengths, which change soon."""
    if name.startswith("_ZN"):
        name = re.sub(r"^(_ZN(?:4core3ptr)?)\d+(_\$LT\$|drop_in_place)", r"\1*\2", name)
        return re.sub(r"17h[0-9a-f]{16}E", "17h*E", name)
    if name.startswith("_R"):
        return re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", name)
    return re.sub(r"^aws_lc_\d+_\d+_\d+_", "aws_lc_*_", name)


def patterns(functions, touched):
    """As few and as short as may be, in the order of addresses; last those of which most is never run."""
    root = Prefix()
    ran = set(touched)
    for function in functions:
        root.add(pattern(function[2]), function[1] if function in ran else 0, function)
    _, found = root.cover("")
    return [name for name, prefix in sorted(found, key=lambda item: (2 * item[1].run < item[1].size, item[1].first))]


class Prefix:
    """All functions whose names begin alike."""

    def __init__(self):
        self.longer, self.is_name, self.size, self.run, self.first = {}, False, 0, 0, sys.maxsize

    def add(self, name, run, function):
        prefix = self
        for part in [None, *PART.findall(name)]:
            prefix = prefix if part is None else prefix.longer.setdefault(part, Prefix())
            prefix.size += function[1]
            prefix.run += run
            prefix.first = min(prefix.first, function[0])
        prefix.is_name = True

    def cover(self, name):
        """What the cheapest patterns cost that match all that is run, and these."""
        if not self.run:
            return 0, []
        if not self.longer:
            return LINE + self.size, [(name, self)]
        covers = [prefix.cover(name + part) for part, prefix in self.longer.items()]
        apart = sum(cost for cost, _ in covers)
        if self.is_name or LINE + self.size <= apart:
            return LINE + self.size, [(name + "*", self)]
        return apart, [found for _, covered in covers for found in covered]


if __name__ == "__main__":
    main()
