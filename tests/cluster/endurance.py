"""The gate beside its service under load: pods are replaced, its process is killed, its memory is short."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import manifests
from cluster import (
    Asker, apply, ask, container, control_group, eventually, kubectl, process, resident, rollout_status,
)  # fmt: skip
from load import Load
from rollout import rolling_update, under_load
from sidecar import TOKEN_FILE, flags, injected
from verdicts import leave_nothing

MIB = 1024 * 1024
#: Remembered ones take room too.
TOKENS = 300


def endurance(place):
    apply(manifests.binding(), *manifests.plain_app("127.0.0.1:8080"))
    injected(["deploy,svc", "app"], *flags(place, TOKEN_FILE))
    rollout_status()
    place.api.settle("app", 2)
    rolling_update(place, "app", f"http://{place.address()}", "app")
    crash(place)
    memory(place)
    without_a_drain(place)
    leave_nothing(place, "app")


def crash(place):
    """SIGKILL to the gate of one pod."""
    report, pod = place.report, place.api.pods("app")[0]
    pid, address, uid = process(pod, "claimgate"), pod["status"]["podIP"], pod["metadata"]["uid"]
    if not pid:
        report.skip("a crash of the gate", "its process is not to be seen from here")
        return
    bearer = place.bearer()
    askers = {
        "with": Asker(place.address(), bearer=bearer),
        "without": Asker(address, 4180),
        "around": Asker(address, 8080, bearer=bearer),
    }
    for asker in askers.values():
        asker.start()
    time.sleep(1)
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)

    def is_back():
        gate = next(container(one, "claimgate") for one in place.api.pods("app") if one["metadata"]["uid"] == uid)
        return gate["restartCount"] == 1 and gate["ready"]

    eventually("the gate is back", is_back, every=0.05)
    back = time.monotonic() - began
    time.sleep(3)
    for asker in askers.values():
        asker.__exit__()
    bad = askers["with"].bad()
    report.check("after SIGKILL the gate is back and ready", True, f"after {back:.1f} s")
    last = max((at for at, *_ in bad), default=began) - began
    figure = f"failed {len(bad)} of {len(askers['with'].answers)} through the Service, the last after {last:.1f} s"
    for at, status, text in bad:
        print(f"  {at - began:.2f} s after it: {status} {text[:200]}", flush=True)
    report.check("requests recover by themselves", last < back + 1, figure)
    statuses = askers["without"].statuses()
    report.check(
        "meanwhile nobody passes without a token",
        statuses <= {0, 401},
        f"{len(askers['without'].answers)} asked",
        str(statuses),
    )
    statuses = askers["around"].statuses()
    report.check(
        "meanwhile the origin's port stays shut", statuses == {0}, f"{len(askers['around'].answers)} asked", str(statuses)
    )


def memory(place):
    """32 MiB, many connections, many tokens."""
    injected(["deploy,svc", "app"], *flags(place, TOKEN_FILE, f"--max-upstream-connections={manifests.CONNECTIONS}"))
    kubectl("set", "resources", "deploy/app", "-c", "claimgate", "--limits=memory=32Mi")
    rollout_status()
    place.api.settle("app", 2)
    pods = place.api.pods("app")
    pids = [process(pod, "claimgate") for pod in pods]
    at_rest = [(*resident(pid), *control_group(pid)) for pid in pids if pid]
    address = place.address()
    load = Load(f"http://{address}", place.bearer(), wrk=200)
    with ThreadPoolExecutor(8) as asking:
        statuses = set(asking.map(lambda serial: ask(address, bearer=one_more(place, serial))[0], range(TOKENS)))
    time.sleep(max(0, load.began + 20 - time.monotonic()))
    found = load.end()
    counts = ", ".join(f"{tool}: {failed} of {requests}" for tool, (requests, failed, _) in found.items())
    is_so = statuses == {200} and not any(failed for _, failed, _ in found.values())
    what = f"204 connections and {TOKENS} tokens at a limit of 32 MiB: no request fails"
    place.report.check(what, is_so, f"failed {counts}", f"{statuses} {found}")
    gates = [container(pod, "claimgate") for pod in place.api.pods("app")]
    is_whole = not any(gate["restartCount"] or gate["lastState"] for gate in gates)
    place.report.check("and no gate was killed for its memory", is_whole, why=json.dumps(gates))
    if len(at_rest) != 2:
        place.report.skip("its memory", "its process is not to be seen from here")
        return
    under = [(*resident(pid), *control_group(pid)) for pid in pids]
    place.report.check("the limit is 32 MiB", {one[4] for one in under} == {32 * MIB}, why=str(under))
    told = lambda values: " and ".join(f"{value / MIB:.1f}" for value in values) + " MiB"
    place.report.figure("memory at rest: resident", told(one[0] for one in at_rest))
    place.report.figure("memory at rest: control group", told(one[2] for one in at_rest))
    place.report.check(
        "memory under load: resident at most", max(one[1] for one in under) < 32 * MIB, told(one[1] for one in under)
    )
    place.report.figure("memory under load: control group at most", told(one[3] for one in under))


def one_more(place, serial):
    """A token that was not seen before."""
    return place.api.token("caller", [manifests.AUDIENCE, f"serial-{serial}"])


def without_a_drain(place):
    """For comparison: what the drain delay and the origin's preStop are for."""
    words = flags(place, TOKEN_FILE, "--drain-delay=0s")

    def act():
        kubectl("rollout", "restart", "deploy/app")
        rollout_status()

    injected(["deploy,svc", "app"], "--pre-stop", "none", *words)
    rollout_status()
    place.api.settle("app", 2)
    _, counts, _ = under_load(place, "app", f"http://{place.address()}", act, "app")
    place.report.figure("for comparison, the rolling update without drain delay and preStop", counts)
