"""A running pool: started from its manifest, spoken to by the contract, watched, and never left behind.

A pool runs in a session of its own, so that everything it forks can be found and killed by its number, and its standard
error goes to a file that a failing case shows.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from backchannel_conformance import procfs
from backchannel_conformance.client import Connection, Who
from backchannel_conformance.clock import scaled, until
from backchannel_conformance.errors import HarnessError
from backchannel_conformance.manifest import Manifest
from backchannel_conformance.status import Status, read_status

START_SECONDS = 30.0
STOP_SECONDS = 15.0
PLENTY = 1_000_000


@dataclass(frozen=True)
class Options:
    """What a case asks of a pool. A pool is of fixed size unless its bounds are given one by one."""

    workers: int = 2
    capacity: int = 1
    start: int | None = None
    min: int | None = None
    max: int | None = None
    min_spare: int = 0
    max_spare: int = PLENTY
    pass_seconds: float = 1.0
    policy: str | None = None
    max_per_order: int = 1
    # So long that a busy machine makes no order void; a case about silence sets its own.
    order_deadline: float = 10.0
    silence_deadline: float = 30.0
    drain_deadline: float = 30.0

    def values(self) -> dict[str, str]:
        policy = self.policy or ("lowest" if self.capacity == 1 else "least-loaded")
        return {
            "capacity": str(self.capacity),
            "start": str(self.workers if self.start is None else self.start),
            "min": str(self.workers if self.min is None else self.min),
            "max": str(self.workers if self.max is None else self.max),
            "min_spare": str(self.min_spare),
            "max_spare": str(self.max_spare),
            "pass": str(self.pass_seconds),
            "policy": policy,
            "max_per_order": str(self.max_per_order),
            "order_deadline": str(self.order_deadline),
            "silence_deadline": str(self.silence_deadline),
            "drain_deadline": str(self.drain_deadline),
        }


class Pool:
    """One run of an implementation."""

    def __init__(self, manifest: Manifest, options: Options) -> None:
        self.manifest = manifest
        self.options = options
        self.has_status = "status" in manifest.mentions(options.capacity)
        # Not pytest's directory: the path of a socket must be short.
        self._directory = tempfile.TemporaryDirectory(prefix="bcc-")
        self.directory = Path(self._directory.name)
        self.log_path = self.directory / "log"
        self.status_path = self.directory / "s"
        self.connections: list[Connection] = []
        self.exit_status: int | None = None
        self.tree_switches: int | None = None
        self.address: tuple[str, int] = ("", 0)
        self._log = ""
        self._process = self._launch()
        self.pid = self._process.pid
        self._closed = False

    def _launch(self) -> subprocess.Popen[bytes]:
        values = {
            **self.options.values(),
            "listen": "127.0.0.1:0",
            "status": str(self.status_path),
        }
        command, environment = self.manifest.expand(self.options.capacity, values)
        with self.log_path.open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.manifest.path.parent,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    # -------------------------------------------------------------------------------- the start

    def wait_ready(self) -> None:
        """Read the READY line."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + scaled(START_SECONDS)
        pipe = self._process.stdout.fileno()
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in line:
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    raise HarnessError(f"no READY line in {scaled(START_SECONDS):.0f} s")
                octets = os.read(pipe, 4096)
                if not octets:
                    status = self.wait(5)
                    log = self.log()[-600:].strip()
                    raise HarnessError(f"the pool ended (status {status}) before READY: {log}")
                line += octets
        words = line.split(b"\n")[0].decode("ascii", "replace").split()
        if len(words) < 2 or words[0] != "READY":
            raise HarnessError(f"the readiness line is {line[:80]!r}, not READY HOST:PORT")
        host, _, port = words[1].rpartition(":")
        if not port.isdigit():
            raise HarnessError(f"the readiness line names {words[1]!r}, not HOST:PORT")
        self.address = (host.strip("[]"), int(port))

    # ---------------------------------------------------------------------------------- talking

    @property
    def port(self) -> int:
        return self.address[1]

    def status(self) -> Status:
        if not self.has_status:
            raise HarnessError("a case asks for a status document without declaring it")
        return read_status(self.status_path)

    def connect(self, line: str) -> Connection:
        """A client that the case need not close."""
        connection = Connection(self.address, line)
        self.connections.append(connection)
        return connection

    def hold(self) -> tuple[Connection, Who]:
        connection = self.connect("hold")
        return connection, connection.answer()

    def ask(self, line: str = "who") -> Who:
        with Connection(self.address, line) as connection:
            return connection.answer()

    def workers(self) -> list[int]:
        """Process ids: from the status document, or else the children of the process that was started."""
        if self.has_status:
            return [worker.pid for worker in self.status().workers]
        return procfs.children(self.pid)

    def until_status(self, wanted: object, seconds: float = 10.0) -> Status | None:
        """The first status document for which ``wanted(document)`` holds, or None in time."""
        assert callable(wanted)
        test = wanted
        seen = until(lambda: next(iter([s for s in [self.status()] if test(s)]), None), seconds)
        return seen

    def settle(self, *, served: int | None = None, seconds: float = 20.0) -> None:
        """Wait until nothing is under way: all that was ordered has been answered, and every worker sleeps.

        Only then are counters read. ``served``: and the parent has counted that many connections.
        """
        if self.has_status:

            def quiet(status: Status) -> bool:
                taken = status["accepted"] + status["late"]
                return (
                    status.outstanding == 0
                    and all(w.state == "READY" and w.open == 0 for w in status.workers)
                    and (served is None or taken >= served)
                )

            if self.until_status(quiet, seconds) is None:
                raise HarnessError(f"the pool does not come to rest: {self.status()}")
        if procfs.available() and not until(self.asleep, seconds):
            states = {pid: procfs.state(pid) for pid in self.workers()}
            raise HarnessError(f"the workers do not come to rest: {states}")

    def asleep(self) -> bool:
        return all(procfs.state(pid) == "S" for pid in self.workers())

    # ---------------------------------------------------------------------------------- the end

    def signal(self, number: signal.Signals) -> None:
        if self.exit_status is None:
            os.kill(self.pid, number)

    def reap(self) -> bool:
        """Whether the main process has ended; its usage holds that of all it has waited for."""
        if self.exit_status is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.exit_status = os.waitstatus_to_exitcode(status)
                self.tree_switches = usage.ru_nvcsw
                # It has been waited for here, for the usage; the Popen object must not try again.
                self._process.returncode = self.exit_status
        return self.exit_status is not None

    def wait(self, seconds: float = STOP_SECONDS) -> int | None:
        """The exit status of the main process, or None when it is still there."""
        until(self.reap, seconds)
        return self.exit_status

    def log(self) -> str:
        if self.log_path.exists():
            self._log = self.log_path.read_text(encoding="utf-8", errors="replace")
        return self._log

    def kill_all(self) -> None:
        """Without asking, everything that the pool has started and that is still in its process group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        except PermissionError:
            # Some systems say this of a group in which only zombies are left.
            pass

    def close(self) -> None:
        """Give back what the suite itself holds of the pool; it must have ended."""
        if self._closed:
            return
        self._closed = True
        for connection in self.connections:
            connection.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self.log()
        self._directory.cleanup()
