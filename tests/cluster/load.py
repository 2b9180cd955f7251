"""Load for as long as something takes: ab, with a connection for each request, and wrk, which keeps its connections."""

import atexit
import re
import signal
import subprocess
import time

#: More than anything takes.
SECONDS = 600


class Load:
    """Both tools, until `end`; they end with this program in any case."""

    def __init__(self, url, bearer, *, ab=4, wrk=8):
        field = f"Authorization: Bearer {bearer}"
        commands = {}
        if ab:
            commands["ab"] = ["ab", "-q", "-r", "-t", SECONDS, "-n", 1_000_000, "-c", ab, "-H", field, f"{url}/"]
        if wrk:
            commands["wrk"] = ["wrk", "-t", 1, "-c", wrk, "-d", f"{SECONDS}s", "--timeout", "10s", "-H", field, f"{url}/"]
        self.began = time.monotonic()
        self.tools = {
            name: subprocess.Popen([str(word) for word in words], stdout=-1, stderr=-2, text=True)
            for name, words in commands.items()
        }
        atexit.register(lambda: [tool.kill() for tool in self.tools.values() if tool.poll() is None])

    def end(self):
        """By tool: how many requests there were, how many failed, and what it said."""
        was_running = {name: tool.poll() is None for name, tool in self.tools.items()}
        for name, tool in self.tools.items():
            if was_running[name]:
                tool.send_signal(signal.SIGINT)
        self.seconds = time.monotonic() - self.began
        said = {name: tool.communicate()[0] for name, tool in self.tools.items()}
        counts = {"ab": counted_by_ab, "wrk": counted_by_wrk}
        found = {name: (*counts[name](text), text[-1500:]) for name, text in said.items()}
        for name, is_so in was_running.items():
            if not is_so:
                found[name] = (found[name][0], found[name][1] + 1, f"it ended by itself: {found[name][2]}")
        return found


def number(pattern, text):
    match = re.search(pattern, text)
    return int(match[1]) if match else 0


def counted_by_ab(text):
    """Other statuses are no failures to ab, other lengths are."""
    failed = number(r"Failed requests:\s+(\d+)", text) + number(r"Non-2xx responses:\s+(\d+)", text)
    return number(r"Complete requests:\s+(\d+)", text), failed


def counted_by_wrk(text):
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = sum(int(count) for count in errors.groups()) if errors else 0
    return number(r"(\d+) requests in", text), failed + number(r"Non-2xx or 3xx responses: (\d+)", text)
