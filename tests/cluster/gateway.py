"""The chart's gateway in front of a Service, and the kustomize component beside a service."""

import json
import tempfile
from pathlib import Path

import manifests
from cluster import HELM, NAMESPACE, apply, has_names, kubectl, rollout_status, run, timed
from rollout import rolling_update
from verdicts import is_closed, leave_nothing, verdicts

#: The chart's names are made of it.
RELEASE = "gateway"


def chart(place):
    """As somebody installs it; the app behind it stays as it was."""
    apply(manifests.binding(), *manifests.plain_app())
    rollout_status()
    values = manifests.chart_values(f"http://{place.address()}", place.issuer, place.jwks_url)
    command = [HELM, "-n", NAMESPACE, "install", RELEASE, manifests.ROOT / "deploy/helm/claimgate", "-f", "-", "--wait"]
    _, seconds = timed(lambda: run(*command, "--timeout", "120s", input=json.dumps(values)))
    place.report.check("the chart installs and gets ready", True, f"{seconds:.1f} s")
    name = f"{RELEASE}-claimgate"
    address = place.address(name)
    verdicts(place, address)
    rolling_update(place, name, f"http://{address}", "gateway")
    if has_names():
        print(run(HELM, "-n", NAMESPACE, "test", RELEASE), flush=True)
        place.report.check("helm test passes", True)
    else:
        place.report.skip("helm test", "it asks for the Service by name, and this cluster has no DNS")
    run(HELM, "-n", NAMESPACE, "uninstall", RELEASE)
    leave_nothing(place, "app", "gateway")


def component(place):
    """The plain example, with these images and this issuer."""
    apply(manifests.binding())
    with tempfile.TemporaryDirectory() as folder:
        text = manifests.component(Path(folder), place.issuer, place.jwks_url)
    _, seconds = timed(lambda: (kubectl("apply", "-f", "-", input=text), rollout_status()))
    place.report.check("the component applies and gets ready", True, f"{seconds:.1f} s")
    verdicts(place, place.address())
    is_closed(place, "app")
    rolling_update(place, "app", f"http://{place.address()}", "app")
    leave_nothing(place, "app")
