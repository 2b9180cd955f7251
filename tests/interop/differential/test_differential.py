"""The same byte streams, in HTTP/1.1 and in HTTP/2, through the gate to origins with different parsers: each sees exactly the
requests that the gate authorised, in their order, or none.

Behind each stream another client asks for `/end`: what an origin makes of left-over bytes would be seen before it.
"""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "hug"))

from frames import frames  # noqa: E402
from issuer import Issuer  # noqa: E402
from streams import streams  # noqa: E402
from test_verdicts import Process  # noqa: E402

PATIENCE = 20


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Origin:
    """A server that writes a line for each request that it has seen."""

    def __init__(self, name, folder):
        self.folder = pathlib.Path(folder)
        self.seen_file = self.folder / "seen"
        self.seen_file.touch()
        self.stderr = open(self.folder / "stderr", "w+")
        environment = {"SEEN": str(self.seen_file), "PYTHONPATH": str(HERE)}
        self.port = free_port()
        command = getattr(self, name)()
        self.child = subprocess.Popen(
            command, cwd=HERE, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.stderr, text=True
        )
        if name in ("wsgiref", "node"):
            self.port = int(self.child.stdout.readline())
        self.wait_until_it_listens(name)

    def wsgiref(self):
        return [sys.executable, "-B", str(HERE.parent / "hug" / "serve.py"), "app"]

    def gunicorn(self):
        return [sys.executable, "-B", "-m", "gunicorn", "-k", "gthread", "-b", f"127.0.0.1:{self.port}", "app:__hug_wsgi__"]

    def node(self):
        return ["node", "app.js"]

    def nginx(self):
        (self.folder / "conf").write_text(f"""
            daemon off; pid {self.folder}/pid; error_log stderr; worker_processes 1;
            events {{ worker_connections 64; }}
            http {{
                log_format seen '$request_method $request_uri';
                access_log {self.seen_file} seen;
                client_body_temp_path {self.folder}/a; proxy_temp_path {self.folder}/b; fastcgi_temp_path {self.folder}/c;
                uwsgi_temp_path {self.folder}/d; scgi_temp_path {self.folder}/e;
                server {{ listen 127.0.0.1:{self.port}; return 200 ok; }}
            }}""")
        return [shutil.which("nginx") or "/usr/sbin/nginx", "-e", "stderr", "-c", f"{self.folder}/conf"]

    def apache(self):
        modules = "/usr/lib/apache2/modules"
        (self.folder / "index.html").write_text("ok")
        (self.folder / "conf").write_text(f"""
            ServerRoot {self.folder}
            ServerName origin
            Listen 127.0.0.1:{self.port}
            PidFile {self.folder}/pid
            Mutex file:{self.folder}
            LoadModule mpm_event_module {modules}/mod_mpm_event.so
            LoadModule authz_core_module {modules}/mod_authz_core.so
            LoadModule alias_module {modules}/mod_alias.so
            DocumentRoot {self.folder}
            ErrorLog {self.folder}/error
            LogFormat "%m %U%q" seen
            CustomLog {self.seen_file} seen
            AliasMatch ".*" "{self.folder}/index.html"
            """)
        return ["/usr/sbin/apache2", "-DFOREGROUND", "-f", f"{self.folder}/conf"]

    def wait_until_it_listens(self, name):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.child.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise AssertionError(f"{name} does not start: {self.errors()}") from None
                time.sleep(0.05)

    def seen(self):
        """The targets, in order."""
        return [line.split(" ")[1] for line in self.seen_file.read_text().splitlines() if " " in line]

    def errors(self):
        return (self.folder / "stderr").read_text()

    def stop(self):
        self.child.terminate()
        self.child.wait(PATIENCE)
        self.child.stdout.close()
        self.stderr.close()


def gate(issuer, port):
    flags = ["--upstream", f"http://127.0.0.1:{port}", "--issuer", issuer.url, "--listen", "127.0.0.1:0"]
    flags += ["--admin-listen", "127.0.0.1:0", "--log-format", "json", "--access-log", "off"]
    # One pool of connections, so that the last request goes where the others went.
    flags += ["--workers", "1"]
    command = [os.environ["CLAIMGATE"], *flags]
    address = re.compile(r'"listen":"([^"]+)"')
    find = lambda line: (found := address.search(line)) and found[1]  # noqa: E731
    return Process("claimgate", command, {}, "stderr", find)


def ask(address, target, token):
    request = urllib.request.Request(f"http://{address}{target}", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def play(address, stream, is_enough):
    """Sends the bytes and takes what comes back until nothing more does and it is enough."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), PATIENCE) as client:
        deadline = time.monotonic() + PATIENCE
        try:
            client.sendall(stream)
            # A client that is gone would not be served; so it waits for what it is owed.
            client.settimeout(0.3)
            while time.monotonic() < deadline:
                try:
                    if not client.recv(65536):
                        return
                except TimeoutError:
                    if is_enough():
                        return
        except ConnectionError:
            pass


def play_all(name, issuer, origin):
    """What is wrong with each stream through a gate to this origin, and how many there are."""
    gateway = gate(issuer, origin.port)
    try:
        token = issuer.token()
        wait_until(lambda: ask(gateway.address, "/ready", token) == 200, lambda: f"not ready: {origin.errors()}")
        all_streams = streams(f"Authorization: Bearer {token}\r\n".encode()) + frames(f"Bearer {token}".encode())
        verdicts = [play_one(stream, origin, gateway.address, token) for stream in all_streams]
        return [f"{name}, {verdict}" for verdict in verdicts if verdict], len(all_streams)
    finally:
        gateway.stop()
        gateway.log.close()


def play_one(stream, origin, address, token):
    name, octets, expected = stream
    before = len(origin.seen())
    play(address, octets, lambda: len(origin.seen()) >= before + len(expected or []))
    if (status := ask(address, "/end", token)) != 200:
        return f"{name}: {status} behind it"
    wait_until(lambda: "/end" in origin.seen()[before:], lambda: f"{name}: the request behind it is not seen")
    seen = origin.seen()[before:]
    if name.startswith("HTTP/2"):
        seen = [*sorted(seen[:-1]), seen[-1]]
    permitted = [[], ["/first"]] if expected is None else [expected]
    return None if seen in [[*targets, "/end"] for targets in permitted] else f"{name}: {seen}"


def wait_until(condition, complaint):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(complaint())
        time.sleep(0.01)


class Differential(unittest.TestCase):
    def test_each_origin_sees_what_was_authorised_or_nothing(self):
        issuer = Issuer()
        self.addCleanup(issuer.stop)
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        with ThreadPoolExecutor() as origins:
            played = {}
            for name in ("wsgiref", "gunicorn", "node", "nginx", "apache"):
                own = pathlib.Path(folder, name)
                own.mkdir()
                # One after the other: each is given a port that was free.
                origin = Origin(name, own)
                self.addCleanup(origin.stop)
                played[name] = origins.submit(play_all, name, issuer, origin)
            for name, future in played.items():
                with self.subTest(origin=name):
                    wrong, count = future.result()
                    print(f"{name}: {count} streams", flush=True)
                    self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()
