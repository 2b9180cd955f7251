"""The same byte streams through the gate to origins with different parsers: each sees exactly the requests that the gate
authorised, in their order, or none.

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

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "hug"))

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


def play(address, stream):
    """Sends the bytes, says that they are all, and takes what comes back until nothing more does."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), PATIENCE) as client:
        answers = b""
        try:
            client.sendall(stream)
            # A client that is gone would not be served; so it waits for what it is owed.
            client.settimeout(0.3)
            while data := client.recv(65536):
                answers += data
        except TimeoutError:
            pass
        except ConnectionError:
            pass
    return answers


class Differential(unittest.TestCase):
    def test_each_origin_sees_what_was_authorised_or_nothing(self):
        issuer = Issuer()
        self.addCleanup(issuer.stop)
        for name in ("wsgiref", "gunicorn", "node", "nginx", "apache"):
            with self.subTest(origin=name), tempfile.TemporaryDirectory() as folder:
                os.chmod(folder, 0o755)
                origin = Origin(name, folder)
                gateway = gate(issuer, origin.port)
                try:
                    self.play_all(name, issuer, origin, gateway.address)
                finally:
                    gateway.stop()
                    gateway.log.close()
                    origin.stop()

    def play_all(self, name, issuer, origin, address):
        token = issuer.token()
        deadline = time.monotonic() + PATIENCE
        while (status := ask(address, "/ready", token)) != 200:
            self.assertLess(time.monotonic(), deadline, f"{name}: {status}, {origin.errors()}")
            time.sleep(0.05)
        all_streams = streams(f"Authorization: Bearer {token}\r\n".encode())
        for stream_name, stream, expected in all_streams:
            with self.subTest(origin=name, stream=stream_name):
                before = len(origin.seen())
                play(address, stream)
                self.assertEqual(ask(address, "/end", token), 200)
                self.wait_for_the_end(origin, before)
                seen = origin.seen()[before:]
                permitted = [[], ["/first"]] if expected is None else [expected]
                self.assertIn(seen, [[*targets, "/end"] for targets in permitted])
        print(f"{name}: {len(all_streams)} streams", flush=True)

    def wait_for_the_end(self, origin, before):
        deadline = time.monotonic() + PATIENCE
        while "/end" not in origin.seen()[before:]:
            self.assertLess(time.monotonic(), deadline, "the request behind the stream is not seen")
            time.sleep(0.01)


if __name__ == "__main__":
    unittest.main()
