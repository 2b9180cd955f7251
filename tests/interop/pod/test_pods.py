"""What users apply, in real pods: the gate answers, and nothing leads around it."""

import json
import subprocess
import sys
import unittest
from pathlib import Path

import yaml
from issuer import AUDIENCE, JWKS_PATH, METADATA_PATH, SigningKey
from pods import CLAIMGATE, IMAGE, Pod, build, eventually, podman, run

#: In the pod itself, in a container of its own.
ISSUER = "http://127.0.0.1:8090"
KUBECTL = f"{Path(sys.executable).parent}/kubectl"
MIB = 1024 * 1024
KEY = SigningKey("key-1", "ES256")


def token(**changes):
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": 4102444800, "iat": 1700000000}
    return KEY.token(claims | changes)


def setUpModule():
    metadata = {"issuer": ISSUER, "jwks_uri": ISSUER + JWKS_PATH}
    files = {METADATA_PATH[1:]: json.dumps(metadata), JWKS_PATH[1:]: json.dumps({"keys": [KEY.jwk()]})}
    build("issuer", **files)
    build("app", **{"healthz": "fine\n", "index.html": "hello from the app\n"})


def container(name, listen, **more):
    return {"name": name, "image": f"localhost/{name}:test", "args": [listen]} | more


def plain_pod(memory=None):
    """As somebody has it: probes at its own port. The issuer is a neighbour, so that nothing leaves the pod."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 2}
    app = container("app", "127.0.0.1:8080", ports=[{"containerPort": 8080}], livenessProbe=probe, readinessProbe=probe)
    pod = {"containers": [app, container("issuer", "127.0.0.1:8090")]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "labels": {"app": "app"}}, "spec": pod}


def injected(*flags, limit=None):
    command = [CLAIMGATE, "inject", "--plain", "--image", IMAGE, "--container", "app", "--issuer", ISSUER]
    text = run(*command, "--audience", AUDIENCE, *flags, input=yaml.safe_dump(plain_pod()))
    if limit:
        assert text.count("memory: 256Mi") == 1, text
        text = text.replace("memory: 256Mi", f"memory: {limit}")
    return list(yaml.safe_load_all(text))


def component():
    """The plain example of the kustomize component, with our images and an issuer beside."""
    documents = list(yaml.safe_load_all(run(KUBECTL, "kustomize", "deploy/kustomize/examples/plain")))
    for document in documents:
        if document["kind"] == "ConfigMap":
            document["data"] |= {"CLAIMGATE_ISSUER": ISSUER, "CLAIMGATE_AUDIENCE": AUDIENCE}
        if document["kind"] == "Deployment":
            document["spec"]["replicas"] = 1
            containers = document["spec"]["template"]["spec"]["containers"]
            app = next(one for one in containers if one["name"] == "app")
            gate = next(one for one in containers if one["name"] == "claimgate")
            app |= {"image": "localhost/app:test", "args": ["127.0.0.1:8080"]}
            gate["image"] = IMAGE
            containers.append(container("issuer", "127.0.0.1:8090"))
    return [document for document in documents if document["kind"] in ("ConfigMap", "Deployment")]


def is_ready(pod):
    eventually("the gate is ready, as it says itself", lambda: not pod.exec("claimgate", "/claimgate", "healthcheck"))


class Beside(unittest.TestCase):
    """What holds for a gate beside its service, however it came there."""

    def holds(self, documents):
        with Pod(documents) as pod:
            is_ready(pod)
            self.asks_for_a_token(pod)
            self.is_the_only_way(pod)
            self.answers_the_probes(pod, documents)
            self.is_confined(pod)
            self.stops_in_order(pod)

    def asks_for_a_token(self, pod):
        self.assertEqual(pod.get(4180, token=token()), (200, "hello from the app\n"))
        self.assertEqual(pod.get(4180)[0], 401)
        status, body = pod.get(4180, token=token(exp=1700000000))
        self.assertEqual((status, json.loads(body)["reason"]), (401, "expired"))
        status, body = pod.get(4180, token=token(aud="https://other.example.com"))
        self.assertEqual((status, json.loads(body)["reason"]), (401, "wrong_audience"))

    def is_the_only_way(self, pod):
        for port in (8080, 8090, 9180):
            with self.assertRaises(ConnectionRefusedError, msg=f"port {port} answers from outside"):
                pod.get(port)

    def answers_the_probes(self, pod, documents):
        """As the kubelet would ask: from outside, by what stands in the manifest."""
        workload = next(document for document in documents if document["kind"] in ("Pod", "Deployment"))
        spec = workload["spec"] if workload["kind"] == "Pod" else workload["spec"]["template"]["spec"]
        probes = [one[name]["httpGet"] for one in spec["containers"] for name in one if name.endswith("Probe")]
        self.assertEqual(len(probes), 5)
        for probe in probes:
            self.assertEqual(pod.get(probe["port"], probe["path"])[0], 200, probe)
        self.assertEqual(pod.get(9181, "/healthz/origin?path=/")[0], 404)
        podman("stop", "--time", "1", pod.container("app")["Id"])
        self.assertEqual(pod.get(9181, "/healthz/origin?path=/healthz")[0], 503)
        self.assertEqual(pod.get(9181, "/readyz")[0], 200)
        self.assertEqual(pod.get(4180, token=token())[0], 502)

    def is_confined(self, pod):
        status = dict(line.split(":\t", 1) for line in pod.proc("claimgate", "status").splitlines() if ":\t" in line)
        self.assertEqual(status["Uid"].split(), ["65532"] * 4)
        self.assertEqual((int(status["CapEff"], 16), int(status["CapBnd"], 16)), (0, 0))
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        root = next(line.split() for line in pod.proc("claimgate", "mountinfo").splitlines() if line.split()[4] == "/")
        self.assertIn("ro", root[5].split(","))

    def stops_in_order(self, pod):
        gate = pod.container("claimgate")["Id"]
        podman("stop", "--time", "30", gate)
        self.assertEqual(json.loads(podman("inspect", gate))[0]["State"]["ExitCode"], 0)

    def test_injected(self):
        self.holds(injected())

    def test_component(self):
        self.holds(component())


class Memory(unittest.TestCase):
    def test_it_stays_within_32_mib_under_load(self):
        # busybox takes no more than 9 connections that wait.
        with Pod(injected("--", "--workers=2", "--max-upstream-connections=8", limit="32Mi")) as pod:
            is_ready(pod)
            self.assertEqual(pod.memory("claimgate")[2], 32 * MIB)
            at_rest = pod.resident("claimgate")[0]
            address = f"http://{pod.address}:4180/"
            fields = ["-H", f"Authorization: Bearer {token()}"]
            wrk = run("wrk", "-t", "1", "-c", "128", "-d", "5s", *fields, address)
            # Other tokens, good and bad, so that what is remembered of them takes its room too.
            for serial in range(2000):
                if serial % 2:
                    self.assertEqual(pod.get(4180, token=token(sub=f"user-{serial}"))[0], 200)
                else:
                    self.assertEqual(pod.get(4180, token=token(sub=f"user-{serial}") + "AA")[0], 401)
            peak = pod.resident("claimgate")[1]
            gate = pod.container("claimgate")
            self.assertFalse(gate["State"]["OOMKilled"])
            self.assertEqual((gate["State"]["Running"], gate["RestartCount"]), (True, 0))
            self.assertNotIn("Non-2xx", wrk)
            requests = next(line.strip() for line in wrk.splitlines() if "requests in" in line)
            print(f"resident at rest {at_rest / 1024:.1f} MiB, at most {peak / 1024:.1f} MiB; {requests}", flush=True)
            self.assertLessEqual(at_rest, 12 * 1024)
            self.assertLessEqual(peak, 32 * 1024)


class Chart(unittest.TestCase):
    def test_the_gateway_of_the_chart_stands_in_front_of_another_pod(self):
        behind = plain_pod()
        behind["metadata"]["name"] = "behind"
        behind["spec"]["containers"][0]["args"] = ["8080"]
        behind["spec"]["containers"][1]["args"] = ["8090"]
        with Pod([behind]) as app:
            self.assertEqual(eventually("the app answers", lambda: app.get(8080)), (200, "hello from the app\n"))
            values = {
                "image": {"repository": "localhost/claimgate", "tag": "test"},
                "upstream": f"http://{app.address}:8080",
                "issuer": [ISSUER],
                "audience": [AUDIENCE],
                "flags": {"insecure-issuer": True, "jwks-url": f"http://{app.address}:8090{JWKS_PATH}"},
                "replicas": 1,
            }
            text = run(self.helm(), "template", "r", "deploy/helm/claimgate", "-f", "-", input=yaml.safe_dump(values))
            documents = [document for document in yaml.safe_load_all(text) if document["kind"] == "Deployment"]
            with Pod(documents) as gate:
                is_ready(gate)
                self.assertEqual(gate.get(4180, token=token()), (200, "hello from the app\n"))
                self.assertEqual(gate.get(4180)[0], 401)

    def helm(self):
        return subprocess.run(["../manifests/helm"], capture_output=True, text=True, check=True, cwd=sys.path[0]).stdout.strip()


class Image(unittest.TestCase):
    def test_it_is_small_static_and_nobody_s(self):
        image = json.loads(podman("image", "inspect", IMAGE))[0]
        print(f"image: {image['Size'] / 1e6:.1f} MB, {image['Digest']}", flush=True)
        self.assertLessEqual(image["Size"], 12_000_000)
        self.assertEqual(image["Config"]["User"], "65532:65532")
        self.assertEqual(image["Config"]["Labels"]["org.opencontainers.image.title"], "claimgate")

    def test_it_is_the_same_image_when_it_is_built_again(self):
        first = json.loads(podman("image", "inspect", IMAGE))[0]
        subprocess.run(["./image", "oci", "test"], check=True, capture_output=True, cwd=sys.path[0])
        second = json.loads(podman("image", "inspect", IMAGE))[0]
        self.assertEqual((second["Id"], second["Digest"]), (first["Id"], first["Digest"]))

    def test_its_health_check_is_the_binary_s_own(self):
        flags = ["--upstream", "http://127.0.0.1:9", "--jwks-url", "http://127.0.0.1:9/", "--issuer", ISSUER]
        name = podman("run", "--detach", "--read-only", "--cap-drop", "all", "localhost/claimgate:docker", *flags).strip()
        try:
            check = subprocess.run(["podman", "healthcheck", "run", name], capture_output=True, text=True)
            self.assertEqual(check.returncode, 1, check)
            podman("exec", name, "/claimgate", "healthcheck", "--path", "/livez")
        finally:
            podman("rm", "--force", "--time", "1", name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
