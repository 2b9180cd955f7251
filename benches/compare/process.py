"""Processes pinned to a core: started, measured and stopped by their process id."""

import os
import pathlib
import signal
import socket
import subprocess
import time

PATIENCE = 20


class Failure(Exception):
    """What the user is told instead of a table."""


class Process:
    """A program on one core. Its errors go to a file, its output nowhere."""

    def __init__(self, name, command, core, folder):
        self.name = name
        self.log = pathlib.Path(folder, f"{name}.log")
        self.began = time.perf_counter()
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                ["taskset", "-c", str(core), *map(str, command)],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            )

    def wait_for(self, address, token):
        """Seconds from the start to the first 200."""
        while True:
            try:
                if status(address, token) == 200:
                    return time.perf_counter() - self.began
            except OSError:
                pass
            if self.child.poll() is not None:
                raise Failure(f"{self.name} ended with {self.child.returncode}:\n{self.said()}")
            if time.perf_counter() - self.began > PATIENCE:
                raise Failure(f"{self.name} gave no 200 within {PATIENCE} s:\n{self.said()}")
            time.sleep(0.001)

    def said(self):
        return self.log.read_text(errors="replace")[-2000:]

    def cpu_seconds(self):
        """Of all its threads and of its children, in user and kernel mode, since they began."""
        return sum(cpu_seconds(pid) for pid in family(self.child.pid))

    def memory_mib(self):
        """Resident, of it and of its children."""
        return sum(resident_kib(pid) for pid in family(self.child.pid)) / 1024

    def stop(self):
        if self.child.poll() is None:
            children = family(self.child.pid)
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                # Its children would outlive it.
                for pid in children[1:]:
                    kill(pid)
                self.child.kill()
                self.child.wait()


def family(pid):
    """The process and all that descend from it."""
    pids = [pid]
    for parent in pids:
        for task in tasks(parent):
            try:
                pids.extend(map(int, (task / "children").read_text().split()))
            except OSError:
                continue
    return pids


def tasks(pid):
    return list(pathlib.Path("/proc", str(pid), "task").glob("*"))


def cpu_seconds(pid):
    # In nanoseconds; /proc/PID/stat counts in hundredths, where the kernel has nothing better.
    try:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks(pid)) / 1e9
    except OSError:
        fields = pathlib.Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kib(pid):
    for line in pathlib.Path("/proc", str(pid), "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def status(address, token):
    """The status of one `GET /` on a connection of its own."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    request = f"GET / HTTP/1.1\r\nHost: compare.test\r\n{authorization}Connection: close\r\n\r\n"
    with socket.create_connection(address, timeout=2) as connection:
        connection.sendall(request.encode())
        answer = b""
        while b"\r\n" not in answer:
            piece = connection.recv(4096)
            if not piece:
                raise OSError("closed without an answer")
            answer += piece
    return int(answer.split(b" ", 2)[1])
