"""The service, for both kinds of Python server: it writes down each request that it is given and reads no body."""

import os

import hug

SEEN = os.environ["SEEN"]


@hug.sink("/")
def anything(request):
    target = request.env.get("RAW_URI") or request.env["PATH_INFO"]
    with open(SEEN, "a") as seen:
        seen.write(f"{request.method} {target}\n")
    return "ok"
