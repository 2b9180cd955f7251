"""Pods of podman: one network namespace each, as in Kubernetes, from the same manifests."""

import http.client
import json
import os
import subprocess
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ["CACHE"])
CLAIMGATE = os.environ["CLAIMGATE"]
IMAGE = "localhost/claimgate:test"
PATIENCE = 60


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def podman(*words, **options):
    return run("podman", *words, **options)


def eventually(what, condition):
    """What the condition gives that is not empty."""
    deadline, last = time.monotonic() + PATIENCE, None
    while time.monotonic() < deadline:
        try:
            if result := condition():
                return result
        except (AssertionError, OSError, http.client.HTTPException) as error:
            last = error
        time.sleep(0.2)
    raise AssertionError(f"still not so after {PATIENCE} s: {what}: {last}")


def build(name, **files):
    """An image of busybox and these files."""
    folder = CACHE / "context"
    subprocess.run(["rm", "-rf", folder], check=True)
    folder.mkdir()
    (folder / "busybox").write_bytes((CACHE / "busybox").read_bytes())
    (folder / "busybox").chmod(0o755)
    for path, text in files.items():
        (folder / "www" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "www" / path).write_text(text)
    (folder / "Containerfile").write_text(
        "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sleep\nCOPY www /www\nUSER 65533:65533\n"
        'ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-h", "/www", "-p"]\n'
    )
    podman("build", "--quiet", "--tag", f"localhost/{name}:test", folder)
    return f"localhost/{name}:test"


class Pod:
    """A pod while it runs."""

    def __init__(self, documents):
        # podman 4.3 holds annotations to the length of labels; Kubernetes does not.
        for document in documents:
            document["metadata"].pop("annotations", None)
        self.documents = documents

    def __enter__(self):
        try:
            played = podman("kube", "play", "-", input=yaml.safe_dump_all(self.documents))
            names = [line.strip() for line in played.splitlines()]
            self.id = names[names.index("Pod:") + 1]
            infra = json.loads(podman("pod", "inspect", self.id))["InfraContainerID"]
            networks = json.loads(podman("inspect", infra))[0]["NetworkSettings"]["Networks"]
            (self.address,) = (network["IPAddress"] for network in networks.values())
            return self
        except BaseException:
            self.remove()
            raise

    def __exit__(self, kind, *_):
        if kind is not None:
            self.show()
        self.remove()

    def remove(self):
        subprocess.run(["podman", "pod", "rm", "--force", "--all", "--time", "1"], capture_output=True, check=True)

    def show(self):
        for container in self.containers():
            log = subprocess.run(["podman", "logs", container["Id"]], capture_output=True, text=True)
            print(f"== {container['Name']}\n{log.stdout[-3000:]}{log.stderr[-3000:]}", flush=True)

    def containers(self):
        ids = [one["Id"] for one in json.loads(podman("pod", "inspect", self.id))["Containers"]]
        return json.loads(podman("inspect", *ids))

    def container(self, name):
        return next(one for one in self.containers() if one["Name"].endswith(f"-{name}"))

    def exec(self, name, *command):
        return podman("exec", self.container(name)["Id"], *command)

    def proc(self, name, file):
        """A file of the container's first process."""
        return Path(f"/proc/{self.container(name)['State']['Pid']}/{file}").read_text()

    def memory(self, name):
        """What the control group counts, in bytes: now, at most, and its limit."""
        line = next(line for line in self.proc(name, "cgroup").splitlines() if ":memory:" in line or line.startswith("0::"))
        is_v2 = line.startswith("0::")
        folder = Path("/sys/fs/cgroup" if is_v2 else "/sys/fs/cgroup/memory") / line.split(":", 2)[2].lstrip("/")
        files = ("memory.current", "memory.peak", "memory.max")
        if not is_v2:
            files = ("memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.limit_in_bytes")
        return [int((folder / file).read_text()) for file in files]

    def resident(self, name):
        """Anonymous and file pages of the process, in KiB."""
        fields = dict(line.split(":", 1) for line in self.proc(name, "status").splitlines() if ":" in line)
        return int(fields["VmRSS"].split()[0]), int(fields["VmHWM"].split()[0])

    def get(self, port, path="/", token=None):
        """Status and body, from outside the pod."""
        connection = http.client.HTTPConnection(self.address, port, timeout=10)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()
