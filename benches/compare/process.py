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
    """A server on the cores that it was given. Its errors go to a file, its output nowhere."""

    def __init__(self, name, command, port, cores, folder):
        self.name, self.address = name, ("127.0.0.1", port)
        self.log = pathlib.Path(folder, f"{name}.log")
        self.began = time.perf_counter()
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                ["taskset", "-c", listed(cores), *map(str, command)],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            )

    def wait_for_200(self, token):
        """Seconds from the start to the first one."""
        while True:
            try:
                if status(self.address, token) == 200:
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

    def settled_memory_mib(self):
        """The same, when it does not change any more."""
        last, deadline = self.memory_mib(), time.perf_counter() + PATIENCE
        while True:
            time.sleep(0.2)
            now = self.memory_mib()
            if now == last or time.perf_counter() > deadline:
                return now
            last = now

    def open_files(self):
        """Of it and of its children."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in family(self.child.pid))

    def wait_for_open_files(self, count):
        """Until connections that a client opened have been accepted."""
        deadline = time.perf_counter() + PATIENCE
        while (found := self.open_files()) < count:
            if time.perf_counter() > deadline:
                raise Failure(f"{self.name} has {found} files open after {PATIENCE} s, not {count}:\n{self.said()}")
            time.sleep(0.05)

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
    # Exact; /proc/PID/status is not where the kernel counts for each core apart.
    for line in pathlib.Path("/proc", str(pid), "smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1])
    return 0


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def listed(cores):
    return ",".join(map(str, cores))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def status(address, token):
    """The status of one `GET /` on a connection of its own."""
    with ask(address, "/", token) as connection:
        answer = b""
        while b"\r\n" not in answer:
            piece = connection.recv(4096)
            if not piece:
                raise OSError("closed without an answer")
            answer += piece
    return int(answer.split(b" ", 2)[1])


def fetch(address, path):
    """The whole answer to one `GET` on a connection of its own."""
    with ask(address, path, None) as connection:
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


def ask(address, path, token):
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    host = "{}:{}".format(*address)
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Connection: close\r\n\r\n"
    connection = socket.create_connection(address, timeout=2)
    connection.sendall(request.encode())
    return connection
