"""How cost grows: with connections, with the token cache, with workers."""

import contextlib
import re
import time

from bench import SPARE_FILES, Issuer, attempt, check_verdicts, in_turn, say
from crowd import CROWD
from process import Failure, fetch, free_port

COUNTS = (1, 32, 1000, CROWD)
CACHE_SIZES = ("0", "1MiB", "4MiB", "16MiB", "64MiB")
MANY = 100_000
#: What workers are kept busy with, and its file of tokens. A check remembers too few refused ones to know them again.
WORK = {"same token": "same", "bad signatures": "forged"}


def measure(bench, chosen):
    grown = {"connections": [], "workers": [], "token cache": None}
    # A proxy may need a connection to the origin for each of a client's.
    counts = [min(count, (bench.open_files - SPARE_FILES) // 2) for count in COUNTS]
    # Of a proxy from the command line it is not known how to ask for two.
    several = [peer for peer in chosen if not peer.given]
    for number in range(bench.arguments.rounds):
        say(f"growth, round {number + 1} of {bench.arguments.rounds}")
        order = in_turn(chosen, number)
        grown["connections"].append({count: connections(bench, order, count) for count in counts})
        grown["workers"].append({peer.name: workers(bench, peer) for peer in in_turn(several, number)})
    for peer in chosen:
        if peer.name == "claimgate":
            grown["token cache"] = token_cache(bench, peer)
    return grown


def connections(bench, chosen, count):
    """CPU-seconds per 100,000 requests of each proxy while so many clients send as much as they can."""

    def measure(peer):
        with contextlib.ExitStack() as stack:
            process, _ = bench.start(peer, stack, connections=count + SPARE_FILES)
            check_verdicts(peer, process, bench.tokens)
            with bench.crowd(process, count, bench.arguments.seconds):
                cpu, served = used_and_served(bench, process)
                time.sleep(bench.arguments.seconds)
                cpu_after, served_after = used_and_served(bench, process)
        return (cpu_after - cpu) / (served_after - served) * 100_000

    return {peer.name: attempt(f"{peer.name}, {count} connections", lambda: measure(peer)) for peer in chosen}


def used_and_served(bench, process):
    """The origin is busy, and may take its time to tell."""
    before = process.cpu_seconds()
    served = bench.served()
    return (before + process.cpu_seconds()) / 2, served


def token_cache(bench, peer):
    """claimgate's memory in MiB by `--token-cache-size`: idle, after 10,000 tokens and after 100,000; and how many of
    them it then remembers."""
    import tokens  # see Bench

    say(f"minting {MANY} tokens more")
    key = tokens.Key.ed25519()
    issuer = Issuer(key.jwks)
    minted = tokens.mint_all(key, issuer.url, range(MANY), int(time.time()))
    few = tokens.write(bench.folder, "cheap few", minted[: tokens.FEW])
    rest = tokens.write(bench.folder, "cheap rest", minted[tokens.FEW :])
    found = {}
    for size in CACHE_SIZES:
        say(f"token cache of {size}")
        admin = ("127.0.0.1", free_port())
        wishes = {"admin": "{}:{}".format(*admin), "options": ("--token-cache-size", size)}
        with contextlib.ExitStack() as stack:
            process, _ = bench.start(peer, stack, issuer=issuer, token=minted[0], **wishes)
            # What each connection needs is there before.
            bench.load(process.address, few, "loop", 1, pause=1000)
            memory = [process.settled_memory_mib()]
            for file in (few, rest):
                sent = bench.load(process.address, file, "once", 300)
                if sent["refused"] or sent["broken"]:
                    raise Failure(f"{peer.name}, token cache of {size}: {sent}")
                memory.append(process.settled_memory_mib())
            entries = re.search(r'claimgate_token_cache_entries{verdict="accepted"} (\d+)', fetch(admin, "/metrics"))
            found[size] = [*memory, int(entries[1])]
    return found


def workers(bench, peer):
    """What two workers make of the same requests as one: the ratio of CPU per request, the ratio of requests per second,
    and the largest one that the cores have room for."""
    ones, twos = (worker_loads(bench, peer, count) for count in (1, 2))
    found = {}
    for name, one in ones.items():
        two = twos[name]
        found[name] = {"cpu": two["cpu"] / one["cpu"], "rate": two["rate"] / one["rate"], "room": room(bench, one)}
    return found


def worker_loads(bench, peer, count):
    loads = {}
    with contextlib.ExitStack() as stack:
        process, _ = bench.start(peer, stack, cores=bench.both_cores[:count], workers=count)
        check_verdicts(peer, process, bench.tokens)
        for name, file in WORK.items():
            # Each worker sees the token for the first time.
            bench.load(process.address, file, "loop", 1)
            cpu, others = process.cpu_seconds(), bench.origin.cpu_seconds()
            load = bench.load(process.address, file, "loop", bench.arguments.seconds)
            expected = load["requests"] if file == "forged" and peer.checks else 0
            if load["refused"] != expected or load["broken"]:
                raise Failure(f"{peer.name}, {count} workers, {name}: {expected} should be refused: {load}")
            load["cpu"] = (process.cpu_seconds() - cpu) / load["requests"]
            load["others"] = (bench.origin.cpu_seconds() - others + load["generator_cpu"]) / load["requests"]
            load["rate"] = load["requests"] / load["seconds"]
            loads[name] = load
    return loads


def room(bench, one):
    """Generator and origin need their time, too; where they share a core with a worker, of the worker's."""
    shared = set(bench.both_cores) & set(bench.other_cores)
    most = 2 / (one["cpu"] + one["others"]) if shared else len(bench.other_cores) / one["others"]
    return min(2, most / one["rate"])
