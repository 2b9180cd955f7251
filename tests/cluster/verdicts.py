"""What holds for a gate however it came into its pods."""

import json

from cluster import ask, eventually, kubectl


def verdicts(place, address):
    """By the caller's two tokens, and by none."""
    status, body = ask(address, bearer=place.bearer())
    place.report.check("a projected token for its audience passes", status == 200, why=body)
    status, body = ask(address, bearer=place.bearer("other"))
    refused = status == 401 and json.loads(body)["reason"] == "wrong_audience"
    place.report.check("one without it is refused: 401 wrong_audience", refused, why=f"{status} {body}")
    status, body = ask(address)
    place.report.check("none is refused: 401 token_missing", status == 401 and "token_missing" in body, why=f"{status} {body}")


def is_closed(place, app, port=8080):
    """From outside of the pods."""
    answers = [ask(pod["status"]["podIP"], port) for pod in place.api.pods(app)]
    is_so = bool(answers) and all(status == 0 and "Refused" in error for status, error in answers)
    place.report.check(f"the origin's port {port} refuses from outside the pods", is_so, why=str(answers))


def leave_nothing(place, *apps):
    kubectl("delete", "deploy,svc,networkpolicy", "--all", "--ignore-not-found")
    for app in apps:
        eventually(f"no pod of {app} is left", lambda app=app: not place.api.all_pods(app))
