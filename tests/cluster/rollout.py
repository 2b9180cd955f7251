"""What is done to every form of the gate: pods are replaced under load."""

import time

from cluster import kubectl, rollout_status
from load import Load


def under_load(place, what, url, act, app, **tools):
    """Requests and failures by tool, while something is done and until the old pods are gone."""
    load = Load(url, place.bearer(), **tools)
    try:
        time.sleep(2)
        act()
        place.api.settle(app, 2)
        time.sleep(2)
    finally:
        found = load.end()
    counts = ", ".join(f"{tool}: {failed} of {requests}" for tool, (requests, failed, _) in found.items())
    said = " ".join(text for _, failed, text in found.values() if failed)
    total = {"requests": sum(one[0] for one in found.values()), "failed": sum(one[1] for one in found.values())}
    return total, f"failed {counts}, in {load.seconds:.0f} s", said


def rolling_update(place, deployment, url, app):
    def restart():
        kubectl("rollout", "restart", f"deploy/{deployment}")
        rollout_status(deployment)

    total, counts, said = under_load(place, deployment, url, restart, app)
    is_so = total["failed"] == 0 and total["requests"] > 500
    place.report.check("a rolling update under load fails no request", is_so, counts, f"{counts}\n{said}")
    restarts = [status["restartCount"] for pod in place.api.pods(app) for status in pod["status"].get("containerStatuses", [])]
    place.report.check("and nothing was restarted meanwhile", not any(restarts), why=str(restarts))
