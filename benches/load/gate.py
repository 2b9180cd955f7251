"""claimgate, started as it is shipped."""

import asyncio
import json
import os
import pathlib
import signal
import subprocess
import time

from client import Broken, Connection
from issuer import AUDIENCE
from peers import claimgate_binary
from process import PATIENCE, Failure, Process


class Gate(Process):
    """One instance. Its ports are free ones, told by its log. `upstream` is a port of this machine, or a URL."""

    def __init__(self, folder, issuer, upstream, *flags):
        url = upstream if isinstance(upstream, str) else f"http://127.0.0.1:{upstream}"
        command = [
            claimgate_binary(), "--issuer", issuer.url, "--audience", AUDIENCE,
            "--upstream", url, "--listen", "127.0.0.1:0",
            "--health-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
            "--access-log", "off", "--log-format", "json", *flags,
        ]  # fmt: skip
        super().__init__("claimgate", command, 0, sorted(os.sched_getaffinity(0)), folder)
        # Known only from its log.
        self.address = self.health = self.admin = None

    @property
    def pid(self):
        return self.child.pid

    async def start(self):
        """Waits until it is ready: it has its keys."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise Failure(f"claimgate ended with {self.child.returncode}:\n{self.said()}")
            if not self.address:
                self.find_addresses()
            if self.address and await self.probe():
                return self
            await asyncio.sleep(0.02)
        raise Failure(f"claimgate is not ready after {PATIENCE} s:\n{self.said()}")

    def find_addresses(self):
        for line in self.log.read_text().splitlines(keepends=True):
            if line.endswith("\n") and '"health_listen"' in line:
                fields = json.loads(line)
                names = ("listen", "health_listen", "admin_listen")
                self.address, self.health, self.admin = (address_of(fields[name]) for name in names)

    async def probe(self, path="/readyz"):
        """As the kubelet does; `None` when nobody answers."""
        try:
            return (await self.inquire(self.health, path)).status == 200
        except Broken:
            return None

    async def metrics(self):
        """Each sample by its name and labels."""
        text = (await self.inquire(self.admin, "/metrics")).body.decode()
        pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    async def inquire(self, address, path):
        connection = await Connection.open(address)
        try:
            return await connection.ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(), 5)
        finally:
            connection.close()

    def terminate(self):
        self.child.send_signal(signal.SIGTERM)

    async def kill(self):
        self.child.kill()
        await self.ended()

    async def ended(self, patience=60):
        """Waits for its end; the exit code."""
        return await asyncio.to_thread(self.child.wait, patience)

    def descriptors(self):
        return len(list(pathlib.Path("/proc", str(self.pid), "fd").iterdir()))

    def peak_mib(self):
        """The most that was ever resident."""
        for line in pathlib.Path("/proc", str(self.pid), "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return 0


def version():
    return subprocess.run([claimgate_binary(), "--version"], capture_output=True, text=True, check=True).stdout.strip()


def address_of(address):
    host, _, port = address.rpartition(":")
    return host, int(port)
