"""The servers that are compared: how each is started, and what the kernel says of its processes.

Processor time comes from each process's own clock, waiting and memory from ``/proc``: EPOLLEXCLUSIVE exists on Linux
alone, and so does this comparison.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["SERVICES", "RunningServer", "ServerUnderTest", "alternative", "service", "sync", "trio"]

HERE = Path(__file__).parent
ROOT = HERE.parent
SOURCES = (
    *("benchmarks", "reference/core", "reference/server", "reference/sync", "reference/trio", "conformance/controls"),
    *("examples/wsgi", "examples/asgi"),
)


@dataclass(frozen=True)
class ServerUnderTest:
    """A server: a name for the tables, and its command with ``{status}`` for the path of a status socket. One that
    cannot say which port it was given is told one, ``{port}``.
    """

    name: str
    command: tuple[str, ...]
    workers: int
    has_parent: bool = False
    """Whether its parent takes part in serving."""

    def start(self) -> RunningServer:
        """Start it, and wait until all its workers are ready."""
        return RunningServer(self)


def sync(capacity: int, workers: int, *options: str, handler: str = "", name: str = "") -> ServerUnderTest:
    """The back-channel with the sync reference."""
    handler = handler or ("handlers:blocking" if capacity == 1 else "handlers:events")
    return _backchannel(name or f"sync, capacity {capacity}", capacity, workers, *options, handler)


def trio(capacity: int, workers: int, *options: str) -> ServerUnderTest:
    """The back-channel with trio workers, under the sync reference's parent."""
    worker = f"{sys.executable} -m backchannel_trio.worker handlers:on_trio"
    return _backchannel(f"trio, capacity {capacity}", capacity, workers, *options, "--worker", worker)


def _backchannel(name: str, capacity: int, workers: int, *options: str) -> ServerUnderTest:
    command = (
        *(
            sys.executable,
            "-m",
            "backchannel_sync",
            "--listen",
            "127.0.0.1:0",
            "--ready-fd",
            "1",
            "--status",
            "{status}",
        ),
        *("--log-level", "error", "--capacity", str(capacity)),
        # a machine that is full of work is not a pool that is broken
        *("--start-deadline", "120"),
    )
    size = () if "--max" in options else ("--workers", str(workers))
    return ServerUnderTest(name, (*command, *size, *options), workers, has_parent=True)


def alternative(kind: str, workers: int) -> ServerUnderTest:
    """One of :mod:`alternatives`."""
    names = {
        "blocking": "blocking accept",
        "herd": "naive herd",
        "exclusive": "EPOLLEXCLUSIVE",
        "reuseport": "SO_REUSEPORT",
        "round-robin": "sync, round robin",
    }
    command = (sys.executable, str(HERE / "alternatives.py"), kind, "127.0.0.1:0", str(workers))
    return ServerUnderTest(names[kind], command, workers, has_parent=kind == "round-robin")


SERVICES = {
    "WSGI example": "backchannel_sync --listen 127.0.0.1:{port} --workers {workers} --log-level error "
    "wsgi_server:handle",
    "gunicorn sync": "gunicorn --bind 127.0.0.1:{port} --workers {workers} --log-level error webapp:application",
    "gunicorn gthread": "gunicorn --bind 127.0.0.1:{port} --workers {workers} --threads 8 --log-level error "
    "webapp:application",
    "ASGI example": "backchannel_trio --listen 127.0.0.1:{port} --workers {workers} --capacity 100 "
    "--log-level error asgi_server:service",
    "uvicorn": "uvicorn --port {port} --workers {workers} --log-level error --no-access-log webapp:asynchronous",
    "hypercorn": "hypercorn --bind 127.0.0.1:{port} --workers {workers} --log-level error webapp:asynchronous",
    # the very HTTP of the ASGI example: only who accepts, and in which worker, is different
    "hypercorn on trio": "hypercorn --bind 127.0.0.1:{port} --workers {workers} --worker-class trio "
    "--log-level error webapp:asynchronous",
}
"""HTTP servers, and the pool with the HTTP of the examples, on one application."""


def service(name: str, workers: int) -> ServerUnderTest:
    """One of :data:`SERVICES`."""
    application = "webapp:asynchronous" if "ASGI" in name else "webapp:application"
    words = SERVICES[name].replace("{workers}", str(workers)).split()
    return ServerUnderTest(name, ("env", f"APP={application}", sys.executable, "-m", *words), workers)


@dataclass
class Figures:
    """What the processes of a server have used."""

    parent: float
    """Seconds of processor time."""
    workers: dict[int, float]
    parent_waits: int
    """Voluntary context switches: how often it went to sleep."""
    worker_waits: dict[int, int]

    def since(self, before: Figures) -> dict[str, float]:
        """The differences, summed."""
        took = {pid: used - before.workers.get(pid, 0.0) for pid, used in self.workers.items()}
        waits = {pid: count - before.worker_waits.get(pid, 0) for pid, count in self.worker_waits.items()}
        return {
            "parent_cpu": self.parent - before.parent,
            "worker_cpu": sum(took.values()),
            "parent_waits": self.parent_waits - before.parent_waits,
            "worker_waits": sum(waits.values()),
            "touched": sum(used > 0.0005 for used in took.values()),
        }


@dataclass
class RunningServer:
    """A server that runs."""

    server: ServerUnderTest
    address: tuple[str, int] = field(init=False)
    pid: int = field(init=False)

    def __post_init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        self._status = f"{self._folder.name}/status"
        told = any("{port}" in part for part in self.server.command)
        port = str(_free_port()) if told else ""
        command = [part.replace("{status}", self._status).replace("{port}", port) for part in self.server.command]
        path = os.pathsep.join(str(ROOT / folder) for folder in SOURCES)
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": ""}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, process_group=0)
        self.pid = self._process.pid
        if told:
            self.address = "127.0.0.1", int(port)
            ready = self._answers()
        else:
            assert self._process.stdout is not None
            word, _, address = self._process.stdout.readline().strip().partition(" ")
            ready = word == "READY"
            host, _, port = address.partition(" ")[0].rpartition(":")
            self.address = host, int(port or 0)
        if not ready:
            with contextlib.suppress(ProcessLookupError):  # it may have ended by itself, and have left nobody behind
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            raise SystemExit(
                f"{self.server.name} did not start: {' '.join(command)}\n(nox -s bench installs what it compares)"
            )

    def _answers(self) -> bool:
        """Wait until an HTTP server has all its workers and answers; whether it ever does."""
        limit = time.monotonic() + 60
        while time.monotonic() < limit and self._process.poll() is None:
            time.sleep(0.1)
            with contextlib.suppress(OSError), socket.create_connection(self.address, 5) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                if client.recv(12) == b"HTTP/1.1 200" and len(self.workers()) >= self.server.workers:
                    return True
        return False

    def stop(self) -> None:
        """End it, workers and all."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)  # nobody has waited for its leader, so the number is its own
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.cleanup()

    def workers(self) -> list[int]:
        """Process ids."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def figures(self) -> Figures:
        """What its processes have used until now."""
        workers = self.workers()
        return Figures(
            _processor_time(self.pid),
            {pid: _processor_time(pid) for pid in workers},
            _waits(self.pid),
            {pid: _waits(pid) for pid in workers},
        )

    def memory(self) -> int:
        """Octets of memory, each page divided by those who share it (proportional set size), workers alone."""
        return sum(_proportional(pid) for pid in self.workers())

    def document(self) -> dict[str, Any]:
        """The status document, of a back-channel."""
        with socket.socket(socket.AF_UNIX) as status:
            status.connect(self._status)
            data = b"".join(iter(lambda: status.recv(1 << 16), b""))
        found: dict[str, Any] = json.loads(data)
        return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _processor_time(pid: int) -> float:
    """Of any process, in seconds: clock_getcpuclockid(3) makes its clock of its id."""
    return time.clock_gettime((~pid << 3) | 2)


def _waits(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches"):
            return int(line.split()[1])
    return 0


def _proportional(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
