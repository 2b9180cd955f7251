"""What a step asks of the cluster: kubectl, the API, pods, and their processes where this is their node."""

import http.client
import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path

CLAIMGATE, HELM = os.environ["CLAIMGATE"], os.environ["HELM"]
IMAGE = os.environ.get("IMAGE", "localhost/claimgate:test")
APP_IMAGE = os.environ.get("APP_IMAGE", "localhost/app:test")
NAMESPACE = "claimgate-test"
PATIENCE = 120


class Stop(Exception):
    """Nothing can be learnt after this."""


def run(*command, **options):
    command = [str(word) for word in command]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise Stop(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def kubectl(*words, **options):
    return run("kubectl", "-n", NAMESPACE, *words, **options)


def get(kind, *words):
    return json.loads(kubectl("get", kind, *words, "-o", "json"))


def apply(*objects):
    return kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def rollout_status(deployment="app"):
    kubectl("rollout", "status", f"deploy/{deployment}", f"--timeout={PATIENCE}s")


def has_names():
    """Whether Services are found by their names."""
    return run("kubectl", "-n", "kube-system", "get", "svc", "-o", "name", "-l", "k8s-app=kube-dns").strip() != ""


def eventually(what, condition, every=0.5):
    """What the condition gives that is not empty, and after how many seconds."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < PATIENCE:
        if result := condition():
            return result, passed
        time.sleep(every)
    raise Stop(f"still not so after {PATIENCE} s: {what}")


def timed(act):
    """What it gives, and how many seconds it took."""
    began = time.monotonic()
    return act(), time.monotonic() - began


class Proxy:
    """The API without a process for each question."""

    def __enter__(self):
        command = ["kubectl", "proxy", "--port=0"]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        said = self.child.stdout.readline()
        if not (port := re.search(r":(\d+)$", said.strip())):
            raise Stop(f"kubectl proxy: {said}")
        self.port = int(port[1])
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()

    def pods(self, app):
        """Those that are not about to end."""
        return [pod for pod in self.all_pods(app) if "deletionTimestamp" not in pod["metadata"]]

    def all_pods(self, app):
        return self.call("GET", f"pods?labelSelector=app%3D{app}")["items"]

    def token(self, account, audiences):
        """A ServiceAccount's, one of its own."""
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": audiences}}
        return self.call("POST", f"serviceaccounts/{account}/token", request)["status"]["token"]

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            fields = {"Content-Type": "application/json"}
            connection.request(method, f"/api/v1/namespaces/{NAMESPACE}/{path}", body and json.dumps(body), fields)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def settle(self, app, count):
        """Until that many pods are left, all of them ready."""
        is_settled = lambda pods: len(pods) == count and all(is_ready(pod) for pod in pods)
        eventually(f"{count} pods of {app} are ready, and no others are there", lambda: is_settled(self.all_pods(app)))


def is_ready(pod):
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def container(pod, name):
    """Its status, if the kubelet has told it."""
    statuses = pod["status"].get("initContainerStatuses", []) + pod["status"].get("containerStatuses", [])
    return next((status for status in statuses if status["name"] == name), {})


def is_container_ready(pod, name):
    return container(pod, name).get("ready", False)


def process(pod, name):
    """The first process of a container, if it runs here and may be looked at."""
    _, _, id = container(pod, name).get("containerID", "").partition("://")
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and id and is_within(entry, id)]
    return min(pids, default=None)


def is_within(entry, id):
    try:
        return id in (entry / "cgroup").read_text()
    except OSError:
        return False


def resident(pid):
    """Of a process, in bytes: now, and at most."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return tuple(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))


def control_group(pid):
    """What its control group counts, in bytes: now, at most, and the limit."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    line = next(line for line in lines if ":memory:" in line or line.startswith("0::"))
    is_v2 = line.startswith("0::")
    folder = Path("/sys/fs/cgroup" if is_v2 else "/sys/fs/cgroup/memory") / line.split(":", 2)[2].lstrip("/")
    files = ("memory.current", "memory.peak", "memory.max")
    if not is_v2:
        files = ("memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.limit_in_bytes")
    return tuple(int((folder / file).read_text()) for file in files)


def ask(address, port=80, path="/", bearer=None, timeout=10):
    """Status and body from this node; 0 where nobody answers."""
    connection, doing = http.client.HTTPConnection(address, port, timeout=timeout), "connecting"
    try:
        connection.connect()
        doing = "waiting for an answer"
        connection.request("GET", path, headers={"Authorization": f"Bearer {bearer}"} if bearer else {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, f"{doing}: {type(error).__name__}: {error}"
    finally:
        connection.close()


class Asker(threading.Thread):
    """Asks again and again until it is stopped; each answer with its time."""

    def __init__(self, *where, **how):
        super().__init__(daemon=True)
        self.where, self.how, self.answers, self.is_over = where, how, [], threading.Event()

    def run(self):
        while not self.is_over.is_set():
            began = time.monotonic()
            self.answers.append((began, *ask(*self.where, **self.how, timeout=2)))
            time.sleep(max(0, 0.01 - (time.monotonic() - began)))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.join()

    def statuses(self):
        return {status for _, status, _ in self.answers}

    def bad(self):
        return [answer for answer in self.answers if answer[1] != 200]


class Report:
    """What was found, told at once and as a table at the end."""

    def __init__(self):
        self.rows, self.failures = [], 0

    def row(self, verdict, what, figure):
        self.rows.append((verdict, what, str(figure)))
        print(f"{time.strftime('%T')} {verdict}: {what}{f': {figure}' if figure != '' else ''}", flush=True)

    def check(self, what, is_so, figure="", why=""):
        self.failures += not is_so
        self.row("ok" if is_so else "FAILED", what, figure if is_so or why == "" else why)

    def figure(self, what, figure):
        self.row("–", what, figure)

    def skip(self, what, why):
        self.row("skipped", what, why)

    def table(self):
        for cells in [("", "what", "figure"), ("---", "---", "---"), *self.rows]:
            print(f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in cells)} |")
