"""The rounds as Markdown: medians, and what each proxy costs as a ratio to nginx."""

import os
import pathlib
import platform
import re
import statistics
import subprocess

from crowd import CROWD

BASE = "nginx"


def show(chosen, columns, results, bench):
    names = [peer.name for peer in chosen]
    print(f"\n{machine()}; {bench.arguments.rounds} rounds of {bench.arguments.seconds} s; {versions(chosen)}.\n")
    if BASE in names:
        print(f"CPU per request as a ratio to {BASE} without a check, sent the same requests: median (lowest–highest)\n")
        of_both = lambda name, column: ratio(cpus(results, name, column), cpus(results, BASE, column))
        table(columns, [(name, [of_both(name, column) for column in columns]) for name in names])
    print("CPU-seconds per 100,000 requests, median\n")
    table(columns, [(name, [figure(cpus(results, name, column), 2) for column in columns]) for name in names])
    print("Latency in µs, and time from exec to the first 200; medians\n")
    heads = ["p50 at 1,000/s", "p99", "p50 at full load", "p99", "first 200"]
    direct = [figure(paced(results, "direct", key)) for key in ("p50_us", "p99_us")]
    table(heads, [*((name, times(results, name, columns)) for name in names), ("(no proxy)", direct + ["–"] * 3)])
    print(f"Resident memory: of the process in MiB, of each of {bench.crowd_size:,} idle connections in KiB; medians\n")
    heads = ["idle", "after 10,000 tokens", "after the load", "a connection before its first byte", "after one request"]
    table(heads, [(name, memory(results, name)) for name in names])


def times(results, name, columns):
    full = lambda key: figure([round[name][columns[0]][key] for round in results])
    at_rate = [figure(paced(results, name, key)) for key in ("p50_us", "p99_us")]
    return [*at_rate, full("p50_us"), full("p99_us"), figure([round[name]["start"] * 1000 for round in results]) + " ms"]


def memory(results, name):
    whole = [figure([round[name][key] for round in results], 1) for key in ("idle", "tokens", "used")]
    crowds = [round[name]["crowd"] or {} for round in results]
    return whole + [figure([crowd.get(key) for crowd in crowds], 1) for key in ("silent", "answered")]


def show_http2(chosen, rounds):
    names = [peer.name for peer in chosen if peer.name in rounds[0]]
    shapes = list(rounds[0][names[0]])
    of = lambda name, shape: [round[name][shape] for round in rounds]
    if BASE in names:
        print(f"HTTP/2 in, HTTP/1.1 out: CPU per request as a ratio to {BASE} doing the same: median (lowest–highest)\n")
        table(shapes, [(name, [ratio(of(name, shape), of(BASE, shape)) for shape in shapes]) for name in names])
    print("The same in CPU-seconds per 100,000 requests, median\n")
    table(shapes, [(name, [figure(of(name, shape), 2) for shape in shapes]) for name in names])


def show_growth(chosen, grown, open_files):
    names = [peer.name for peer in chosen]
    show_connections(names, grown["connections"], open_files)
    if grown["token cache"]:
        show_token_cache(grown["token cache"])
    show_workers(grown["workers"])


def show_connections(names, results, open_files):
    counts = list(results[0])
    heads = [f"{count:,}" for count in counts]
    of = lambda name, count: [round[count][name] for round in results]
    limit = f"; no more than {open_files:,} files may be open" if max(counts) < CROWD else ""
    if BASE in names:
        print(f"CPU per request by busy keep-alive connections as a ratio to {BASE}: median (lowest–highest){limit}\n")
        table(heads, [(name, [ratio(of(name, count), of(BASE, count)) for count in counts]) for name in names])
    print("The same in CPU-seconds per 100,000 requests, median\n")
    table(heads, [(name, [figure(of(name, count), 2) for count in counts]) for name in names])


def show_token_cache(found):
    print("Resident memory of claimgate in MiB by `--token-cache-size`, once\n")
    heads = ["idle", "after 10,000 tokens", "after 100,000", "tokens remembered", "more than with 0", "bytes a token"]
    _, _, without, _ = found["0"]
    rows = []
    for size, (*memory, entries) in found.items():
        more = memory[-1] - without
        each = f"{more * 2**20 / entries:.0f}" if entries else "–"
        rows.append((size, [*(f"{mib:.1f}" for mib in memory), f"{entries:,}", f"{more:.1f}", each]))
    table(heads, rows)


def show_workers(results):
    """Two against one."""
    print("Two workers as a ratio to one: median (lowest–highest)\n")
    rows = []
    for name in results[0]:
        for work in results[0][name]:
            of = lambda key: [round[name][work][key] for round in results]
            rows.append((f"{name}, {work}", [spread(of("cpu")), spread(of("rate")), figure(of("room"), 2)]))
    table(["CPU per request", "requests per second", "of them the cores have room for"], rows)


def paced(results, name, key):
    return [round[name]["paced"][key] for round in results]


def cpus(results, name, column):
    return [round[name][column]["cpu"] for round in results]


def ratio(ones, bases):
    """Within a round, so that what disturbs the machine disturbs both."""
    if ones == bases:
        return "1.00"
    return spread([one / base if one and base else None for one, base in zip(ones, bases)])


def spread(values):
    values = [value for value in values if value is not None]
    return f"**{median(values):.2f}** ({min(values):.2f}–{max(values):.2f})" if values else "–"


def figure(values, digits=0):
    """The median of those that could be measured."""
    values = [value for value in values if value is not None]
    return f"{median(values):.{digits}f}" if values else "–"


def table(heads, rows):
    print("| | " + " | ".join(heads) + " |")
    print("|---|" + "---|" * len(heads))
    for name, cells in rows:
        print(f"| {name} | " + " | ".join(cells) + " |")
    print()


def machine():
    model = platform.machine()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def versions(chosen):
    found = []
    for peer in chosen:
        command = list(map(str, peer.version()))
        if command:
            said = subprocess.run(command, capture_output=True, text=True)
            number = re.search(r"(?:version:?|claimgate) \S*?(\d+\.\d+\.\d+)", said.stdout + said.stderr)
            found.append(f"{peer.name} {number[1] if number else 'of an unknown version'}")
    return ", ".join(found)


def median(values):
    return statistics.median(values)
