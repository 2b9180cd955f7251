"""`claimgate inject` on a plain Deployment: from there to an enforced one and back, and what it stands in between."""

import json
import subprocess
import time
from datetime import datetime

import manifests
from cluster import (
    CLAIMGATE, IMAGE, NAMESPACE, Asker, Stop, apply, ask, container, eventually, get, is_container_ready, is_ready, kubectl,
    rollout_status, run, timed,
)  # fmt: skip
from verdicts import is_closed, leave_nothing, verdicts

TOKEN_FILE = f"--jwks-bearer-token-file={manifests.SECRETS}/token"


def sidecar(place):
    apply(*manifests.plain_app())
    _, seconds = eventually("the plain app is ready", lambda: len(ready_pods(place, "app")) == 2, every=0.05)
    place.report.figure("without the gate: two pods of the app from created to ready", f"{seconds:.1f} s")
    in_two_steps(place)
    removed_in_two_steps(place)
    three_commands(place)
    on_loopback(place)
    verdicts(place, place.address())
    ready_together(place)
    start_to_ready(place)
    never_applied(place)
    removed(place)
    leave_nothing(place, "app")


def flags(place, *gate):
    """Of inject, and of the gate."""
    keys = [] if place.is_discoverable else [f"--jwks-url={place.jwks_url}"]
    own = ["--plain", "--image", IMAGE, "--issuer", place.issuer, "--audience", manifests.AUDIENCE]
    return [*own, "--", f"--issuer-ca-file={manifests.SECRETS}/ca.crt", *keys, *gate]


def inject(text, *words):
    """The manifests, and what it says beside them."""
    done = subprocess.run([CLAIMGATE, "inject", *words], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise Stop(f"inject: {done.stderr}")
    return done.stdout, done.stderr


def injected(what, *words):
    """What the cluster holds, changed."""
    text, notes = inject(kubectl("get", *what, "-o", "yaml"), *words)
    kubectl("replace", "-f", "-", input=text)
    return notes


def ready_pods(place, app):
    return [pod for pod in place.api.pods(app) if is_ready(pod)]


def in_two_steps(place):
    """The workload first, its Service when the gate is everywhere: nobody notices, not even a mistake on the way."""
    report, asker = place.report, Asker(place.address(), bearer=place.bearer())
    with asker:
        injected(["deploy", "app"], *flags(place))
        told, _ = eventually("the gate says why it has no keys", lambda: in_the_log("403"))
        report.check("keys that are not public: the log names the flag", "--jwks-bearer-token-file" in told, why=told)
        waits_for_the_gate(place)
        injected(["deploy", "app"], *flags(place, TOKEN_FILE))
        if place.may_read_keys():
            report.skip("keys that need RBAC", "every ServiceAccount of this cluster may read them")
        else:
            waits_for_the_binding(place)
        apply(manifests.binding())
        _, seconds = timed(lambda: rollout_status())
        report.check("ready by itself once it may read the keys, all pods replaced", True, f"{seconds:.1f} s")
        place.api.settle("app", 2)
        injected(["deploy,svc", "app"], *flags(place, TOKEN_FILE))
        eventually("a request without a token is refused", lambda: ask(place.address())[0] == 401)
        place.api.settle("app", 2)
        time.sleep(1)
    nothing_noticed(place, "from plain to enforced, workload first, and two mistakes on the way", asker)


def waits_for_the_gate(place):
    """A service that is well does not make its pod ready."""

    def halves():
        pods = [pod for pod in place.api.pods("app") if container(pod, "claimgate")]
        return any(is_container_ready(pod, "app") and not is_container_ready(pod, "claimgate") for pod in pods) and pods

    pods, _ = eventually("the app is ready, the gate is not", halves)
    is_so = not any(is_ready(pod) for pod in pods)
    place.report.check("the app is ready and the gate has no keys: the pod is not ready", is_so)


def waits_for_the_binding(place):
    told, _ = eventually("the gate says that its token is not enough", lambda: in_the_log("does not permit it"))
    gates = [pod for pod in place.api.pods("app") if container(pod, "claimgate")]
    is_so = "403" in told and not any(is_ready(pod) for pod in gates)
    place.report.check("a token that may not read the keys: the log says so, and the pod is not ready", is_so, why=told)


def in_the_log(word):
    """A line of the newest pod's gate."""
    words = ["get", "pods", "-l", "app=app", "--sort-by=.metadata.creationTimestamp", "-o", "name"]
    for pod in kubectl(*words).split()[-1:]:
        command = ["kubectl", "-n", NAMESPACE, "logs", pod, "-c", "claimgate", "--tail=50"]
        log = subprocess.run(command, capture_output=True, text=True).stdout
        return next((line for line in log.splitlines() if word in line), "")
    return ""


def removed_in_two_steps(place):
    """Back: the Service first."""
    asker = Asker(place.address(), bearer=place.bearer())
    with asker:
        injected(["svc", "app"], "--remove")
        # Until every node has heard of it.
        eventually("a request without a token passes", lambda: ask(place.address())[0] == 200)
        time.sleep(5)
        injected(["deploy", "app"], "--remove")
        rollout_status()
        place.api.settle("app", 2)
    names = [one["name"] for one in get("deploy", "app")["spec"]["template"]["spec"]["containers"]]
    place.report.check("--remove takes the gate away", names == ["app"], why=str(names))
    nothing_noticed(place, "back again, Service first", asker)


def nothing_noticed(place, what, asker):
    bad, all_of_them = asker.bad(), len(asker.answers)
    figure = f"failed 0 of {all_of_them} requests, one at a time"
    place.report.check(
        f"{what}: no request fails", not bad and all_of_them > 100, figure, f"{len(bad)} of {all_of_them}: {bad[:3]}"
    )


def three_commands(place):
    """As the README has them, everything at once."""
    words = " ".join(f"'{word}'" for word in flags(place, TOKEN_FILE))
    script = f"""set -euo pipefail
        kubectl -n {NAMESPACE} get deploy,svc app -o yaml >app.yaml
        {CLAIMGATE} inject {words} <app.yaml 2>notes | kubectl -n {NAMESPACE} replace -f -
        kubectl -n {NAMESPACE} rollout status deploy/app --timeout=120s
        cat notes >&2"""
    asker = Asker(place.address(), bearer=place.bearer())
    folder = run("mktemp", "-d").strip()
    with asker:
        (_, seconds) = timed(lambda: run("bash", "-c", f"{{ {script}\n}} 2>said", cwd=folder))
        place.api.settle("app", 2)
    with open(f"{folder}/said") as said:
        notes = said.read()
    run("rm", "-rf", folder)
    bad = [at for at, status, _ in asker.answers if status != 200]
    gap = bad[-1] - bad[0] if bad else 0
    place.report.check("three commands from plain to enforced, in less than a minute", seconds < 60, f"{seconds:.1f} s")
    place.report.figure("what the Service answered nobody with meanwhile (see above for the way without)", f"for {gap:.1f} s")
    place.report.check("inject says that the app listens on all addresses", "listens on all addresses" in notes, why=notes)
    status, _ = ask(place.address())
    place.report.check("a request without a token is refused", status == 401, why=status)
    revision = lambda: get("deploy", "app")["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    before = revision()
    injected(["deploy,svc", "app"], *flags(place, TOKEN_FILE))
    time.sleep(2)
    place.report.check("injecting once more replaces no pod", before == revision(), why=f"{before} {revision()}")


def on_loopback(place):
    """What inject asked for. Before, the side entrance is open: so this would be seen."""
    statuses = [ask(pod["status"]["podIP"], 8080)[0] for pod in place.api.pods("app")]
    place.report.check("until the app is told, its own port is open, as inject said", set(statuses) == {200}, why=str(statuses))
    kubectl("set", "env", "deploy/app", "-c", "app", "LISTEN=127.0.0.1:8080")
    rollout_status()
    place.api.settle("app", 2)
    is_closed(place, "app")
    is_closed(place, "app", 9180)


def ready_together(place):
    """A gate that is ready does not make its pod ready either."""
    text, _ = inject(json.dumps(manifests.late_pod(6)), *flags(place, TOKEN_FILE))
    kubectl("apply", "-f", "-", input=text)
    seen = set()

    def is_there():
        for pod in place.api.pods("late"):
            seen.add((is_container_ready(pod, "claimgate"), is_container_ready(pod, "app"), is_ready(pod)))
            return is_ready(pod)

    _, seconds = eventually("the late pod is ready", is_there, every=0.05)
    waited = (True, False, False) in seen
    early = any(pod and not (gate and app) for gate, app, pod in seen)
    place.report.check("the gate is ready and the app is late: the pod is not ready", waited and not early, why=str(seen))
    place.report.figure("a pod whose app listens after 6 s, from created to ready", f"{seconds:.1f} s")
    kubectl("delete", "pod", "late")


def start_to_ready(place):
    """One more pod of the app."""
    known = {pod["metadata"]["uid"] for pod in place.api.pods("app")}
    times, began = {}, time.monotonic()
    kubectl("scale", "deploy/app", "--replicas=3")

    def is_there():
        new = [pod for pod in place.api.pods("app") if pod["metadata"]["uid"] not in known]
        for pod in new:
            gate = container(pod, "claimgate")
            for name, is_so in (
                ("created", True), ("the gate runs", "running" in gate.get("state", {})),
                ("the gate is ready", gate.get("ready")), ("the pod is ready", is_ready(pod)),
            ):  # fmt: skip
                if is_so:
                    times.setdefault(name, time.monotonic() - began)
        return "the pod is ready" in times

    eventually("one more pod is ready", is_there, every=0.05)
    first = times["created"]
    figure = ", ".join(f"{name} after {at - first:.1f} s" for name, at in times.items() if name != "created")
    place.report.figure("one more pod, from created to ready, as the API tells it", figure)
    (pod,) = (pod for pod in place.api.pods("app") if pod["metadata"]["uid"] not in known)
    place.report.figure("its gate, by its own log: from listening to having keys", by_its_log(pod))
    kubectl("scale", "deploy/app", "--replicas=2")
    place.api.settle("app", 2)


def never_applied(place):
    """Such as Helm makes it: `kubectl apply` would leave the old probe beside the new one, and be refused."""
    kubectl("create", "-f", "-", input=json.dumps(manifests.created()))
    probe = lambda: get("deploy", "other")["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    before = probe()
    injected(["deploy", "other"], *flags(place, TOKEN_FILE))
    rollout_status("other")
    with_gate = probe()
    injected(["deploy", "other"], "--remove")
    is_so = "tcpSocket" not in with_gate and "httpGet" in with_gate and probe() == before
    place.report.check("a tcpSocket probe of what was never applied: moved, and put back", is_so, why=f"{before} {with_gate}")
    kubectl("delete", "deploy", "other")


def by_its_log(pod):
    lines = [json.loads(line) for line in kubectl("logs", pod["metadata"]["name"], "-c", "claimgate").splitlines()]
    times = {line["msg"]: datetime.fromisoformat(line["ts"].rstrip("Z")) for line in lines}
    return f"{(times['keys fetched'] - times['claimgate serves']).total_seconds() * 1000:.0f} ms"


def removed(place):
    """As the README has it. Its own probes reach the app only where it listens on all addresses again."""
    kubectl("set", "env", "deploy/app", "-c", "app", "LISTEN=0.0.0.0:8080")
    rollout_status()
    script = f"""set -euo pipefail
        kubectl -n {NAMESPACE} get deploy,svc app -o yaml | {CLAIMGATE} inject --remove | kubectl -n {NAMESPACE} replace -f -
        kubectl -n {NAMESPACE} rollout status deploy/app --timeout=120s"""
    _, seconds = timed(lambda: run("bash", "-c", script))
    pod = get("deploy", "app")["spec"]["template"]["spec"]
    (app,) = pod["containers"]
    probe = app["readinessProbe"]["httpGet"]
    port = get("svc", "app")["spec"]["ports"][0]["targetPort"]
    is_so = (probe["path"], probe["port"], port, "lifecycle" in app) == ("/healthz", "http", "http", False)
    place.report.check(
        "--remove: probes, Service and preStop are as before", is_so, f"{seconds:.1f} s", json.dumps([pod, port])
    )
