"""The steps, one after the other: inject (and what it makes of a Deployment), the chart, the component."""

import json
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import manifests
from cluster import IMAGE, NAMESPACE, Proxy, Report, Stop, apply, get, has_names, kubectl, run
from endurance import endurance
from gateway import chart, component
from sidecar import sidecar


class Place:
    """The cluster, its issuer, and what is found."""

    def __init__(self, api, report):
        self.api, self.report = api, report
        metadata = json.loads(kubectl("get", "--raw", "/.well-known/openid-configuration"))
        self.issuer = metadata["issuer"]
        service = get("svc", "kubernetes", "-n", "default")["spec"]
        self.jwks_url = f"https://{service['clusterIP']}:{service['ports'][0]['port']}/openid/v1/jwks"
        #: The gate sends its token for the keys to the issuer's own origin, and nowhere that the metadata leads to.
        is_reached = origin(self.issuer)[1][0].isdigit() or has_names()
        self.is_discoverable = is_reached and origin(self.issuer) == origin(metadata["jwks_uri"])

    def set_up(self):
        # What an earlier run may have left.
        run("kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=180s")
        run("kubectl", "create", "namespace", NAMESPACE)
        apply(manifests.account("app"), manifests.account("caller"), manifests.caller())
        kubectl("wait", "--for=condition=Ready", "pod/caller", "--timeout=120s")

    def bearer(self, file="app"):
        """What the kubelet has put into the caller's file now."""
        return kubectl("exec", "caller", "--", "/bin/busybox", "cat", f"/tokens/{file}").strip()

    def may_read_keys(self):
        account = f"--as=system:serviceaccount:{NAMESPACE}:app"
        command = ["kubectl", "auth", "can-i", "get", "/openid/v1/jwks", account]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() == "yes"

    def address(self, service="app"):
        return get("svc", service)["spec"]["clusterIP"]

    def image(self):
        """As the node counts it."""
        images = [image for node in get("nodes")["items"] for image in node["status"].get("images", [])]
        sizes = {image["sizeBytes"] for image in images if any(name.endswith(IMAGE) for name in image["names"])}
        if sizes:
            self.report.check("the image has no more than 12 MB", max(sizes) <= 12_000_000, f"{max(sizes) / 1e6:.1f} MB")
        else:
            self.report.skip("the image's size", "no node tells it")

    def show(self):
        """What there is, for who has to find out why it is so."""
        for words in (["get", "pods,svc,endpoints", "-o", "wide"], ["get", "events", "--sort-by=.lastTimestamp"]):
            print(kubectl(*words)[-6000:], flush=True)
        for pod in kubectl("get", "pods", "-o", "name").split():
            log = subprocess.run(
                ["kubectl", "-n", NAMESPACE, "logs", pod, "--all-containers", "--tail=20"], capture_output=True
            )
            print(f"== {pod}\n{log.stdout.decode()}", flush=True)

    def tear_down(self):
        for words in (["delete", "clusterrolebinding", NAMESPACE, "--ignore-not-found"], ["delete", "namespace", NAMESPACE]):
            subprocess.run(["kubectl", *words], capture_output=True)


def origin(url):
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or 443


STEPS = {"sidecar": sidecar, "endurance": endurance, "chart": chart, "component": component}


def main(names):
    if unknown := [name for name in names if name not in STEPS]:
        print("\n".join(STEPS))
        return 0 if unknown == ["--list"] else 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report()
    began = time.monotonic()
    with Proxy() as api:
        place = Place(api, report)
        try:
            place.set_up()
            place.image()
            for name in names or STEPS:
                print(f"== {name}", flush=True)
                STEPS[name](place)
        except Stop as stop:
            report.check("nothing stops a step", False, why=str(stop))
            place.show()
        finally:
            place.tear_down()
    report.table()
    passed = sum(verdict == "ok" for verdict, *_ in report.rows)
    print(f"{passed} passed, {report.failures} failed; {time.monotonic() - began:.0f} s")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
