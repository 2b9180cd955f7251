"""The rounds as Markdown: medians, and what each proxy costs as a ratio to nginx."""

import os
import pathlib
import platform
import re
import statistics
import subprocess

BASE = "nginx"


def show(chosen, columns, results, arguments):
    names = [peer.name for peer in chosen]
    print(f"\n{machine()}; {arguments.rounds} rounds of {arguments.seconds} s; {versions(chosen)}.\n")
    if BASE in names:
        print(f"CPU per request as a ratio to {BASE} without a check, sent the same requests: median (lowest–highest)\n")
        table(columns, [(name, [ratio(results, name, column) for column in columns]) for name in names])
    print("CPU-seconds per 100,000 requests, median\n")
    table(columns, [(name, [f"{median(cpus(results, name, column)):.2f}" for column in columns]) for name in names])
    print("Latency in µs, resident memory, and time from exec to the first 200; medians\n")
    heads = ["p50 at 1,000/s", "p99", "p50 at full load", "p99", "MiB idle", "MiB after the load", "first 200"]
    rows = [(name, rest(results, name, columns)) for name in names]
    direct = [f"{median(paced(results, 'direct', key)):.0f}" for key in ("p50_us", "p99_us")]
    table(heads, [*rows, ("(no proxy)", direct + ["–"] * 5)])


def rest(results, name, columns):
    full = lambda key: [round[name][columns[0]][key] for round in results]
    of = lambda key: [round[name][key] for round in results]
    return [
        f"{median(paced(results, name, 'p50_us')):.0f}",
        f"{median(paced(results, name, 'p99_us')):.0f}",
        f"{median(full('p50_us')):.0f}",
        f"{median(full('p99_us')):.0f}",
        f"{median(of('idle')):.1f}",
        f"{median(of('used')):.1f}",
        f"{median(of('start')) * 1000:.0f} ms",
    ]


def paced(results, name, key):
    return [round[name]["paced"][key] for round in results]


def cpus(results, name, column):
    return [round[name][column]["cpu"] for round in results]


def ratio(results, name, column):
    """Within a round, so that what disturbs the machine disturbs both."""
    ratios = [one / base for one, base in zip(cpus(results, name, column), cpus(results, BASE, column))]
    if name == BASE:
        return "1.00"
    return f"**{median(ratios):.2f}** ({min(ratios):.2f}–{max(ratios):.2f})"


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
