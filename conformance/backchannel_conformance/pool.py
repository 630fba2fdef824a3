"""A pool under test: started from a manifest, spoken to, and cleaned up after."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from . import kernel
from .client import Address, Client
from .errors import Broken
from .manifest import DEFAULTS, Manifest
from .waiting import TimedOut, deadline_in, scale, until

__all__ = ["Failure", "Pool", "Status"]

READY_LIMIT = 30.0
"""Seconds that a pool has for its workers to be ready."""
SEES_PROCESSES = kernel.can("session_of") and kernel.can("state")


class Failure(Exception):
    """The pool did not do what the contract asks of it, so nothing can be tested: an error, not a verdict."""


@dataclass(frozen=True)
class Status:
    """A status document."""

    counters: Mapping[str, int]
    workers: tuple[Mapping[str, Any], ...]
    state: str
    generation: int = 1
    reloading: bool = False
    successor: int | None = None
    pid: int = 0

    def slots(self, state: str | None = None) -> dict[int, Mapping[str, Any]]:
        """Workers by slot; only those in ``state`` if one is given."""
        return {worker["slot"]: worker for worker in self.workers if state in (None, worker["state"])}

    def pids(self) -> dict[int, int]:
        """Process ids by slot."""
        return {worker["slot"]: worker["pid"] for worker in self.workers}

    @property
    def open(self) -> int:
        """Connections that all workers hold, by the parent's figures."""
        return sum(worker["open"] for worker in self.workers)

    @property
    def quiet(self) -> bool:
        """Every worker is READY and holds nothing."""
        return all(worker["state"] == "READY" and not worker["open"] for worker in self.workers)


_PASS = """
import fcntl, os, sys
count = int(sys.argv[1])
given = [int(word) for word in sys.argv[2 : 2 + count]]
copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3 + count) for fd in given]
for fd in given:
    os.close(fd)
for at, copy in enumerate(copies):
    os.dup2(copy, 3 + at)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count))
os.execvp(sys.argv[2 + count], sys.argv[2 + count :])
"""
"""Python: become the command that follows, with the given descriptors passed by the LISTEN_FDS convention."""


class Pool:
    """One running pool. Its processes have a session of their own, so that all of them can be found."""

    def __init__(
        self, manifest: Manifest, options: Mapping[str, str], log: Path, passed: Sequence[socket.socket] = ()
    ) -> None:
        self.manifest = manifest
        self.log = log
        self._directory = tempfile.TemporaryDirectory(prefix="bc-")
        self.status_path = f"{self._directory.name}/status"
        self._gate = Path(self._directory.name) / "gate"
        self.options = {**DEFAULTS, "status": self.status_path, "gate": str(self._gate), **options}
        if not self.options["policy"]:
            self.options["policy"] = "lowest" if self.options["capacity"] == "1" else "least-loaded"
        self.role = manifest.roles["pool"]
        template = self.role.command("command" if self.options["capacity"] == "1" else "command_event")
        environment = {key: manifest.fill(value, self.options) for key, value in self.role.environment.items()}
        command = [manifest.fill(part, self.options) for part in template]
        if passed:
            command = [
                sys.executable,
                "-c",
                _PASS,
                str(len(passed)),
                *(str(sock.fileno()) for sock in passed),
                *command,
            ]
        with log.open("wb") as stream:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                pass_fds=[sock.fileno() for sock in passed],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stream,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        self.pid = self.process.pid
        """The parent: the process that was started, or what has replaced it."""
        self.usage = 0
        """Voluntary context switches of the whole tree, once it was waited for."""
        self.status_code: int | None = None
        try:
            self.addresses = self._wait_until_ready()
        except BaseException:
            self.close()
            raise
        self.client = Client(self.addresses[0])

    # ------------------------------------------------------------------------------------- start

    def _wait_until_ready(self) -> list[Address]:
        stdout = self.process.stdout
        assert stdout is not None
        line = _read_line(stdout, READY_LIMIT)
        if not line.startswith(b"READY "):
            raise Failure(self._not_ready(f"it wrote {line!r}" if line else "it wrote nothing"))
        try:
            return [_address(word.decode()) for word in line.split()[1:]]
        except ValueError:
            what = f"it wrote {line!r}, and READY is followed by addresses, HOST:PORT or unix:PATH"
            raise Failure(self._not_ready(what)) from None

    def _not_ready(self, what: str) -> str:
        # who has closed its standard output may be about to exit
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        code = self.process.poll()
        state = (
            f"after {READY_LIMIT * scale():g} s at most it still runs"
            if code is None
            else f"it has exited with status {code}"
        )
        tail = self.log.read_text(errors="replace")[-600:].strip()
        log = f"its standard error ends:\n{tail}" if tail else "its standard error is empty"
        return f"{self.manifest.name} did not say READY: {what}; {state}; {log}"

    # ------------------------------------------------------------------------------------- status

    @property
    def port(self) -> int:
        """The port of the first listener."""
        address = self.addresses[0]
        assert isinstance(address, tuple)
        return address[1]

    @property
    def has_status(self) -> bool:
        """Whether the manifest offers a status document."""
        return "status" in self.role.placeholders

    def status(self) -> Status:
        """Read the status document."""
        with socket.socket(socket.AF_UNIX) as reader:
            reader.settimeout(15)
            reader.connect(self.status_path)
            data = b""
            while part := reader.recv(1 << 16):
                data += part
        document = json.loads(data)
        more = {key: document[key] for key in ("generation", "reloading", "successor", "pid") if key in document}
        return Status(document["counters"], tuple(document["workers"]), document["state"], **more)

    def workers(self) -> list[int]:
        """Process ids of the workers: by the status document, or else the rest of the session."""
        if self.has_status:
            return list(self.status().pids().values())
        return [pid for pid in kernel.session_of(self.pid) if pid != self.pid]

    def until(self, what: str, ask: Any, seconds: float = 10.0, *, breaks: str = "") -> Status:
        """The first status for which ``ask`` is true. That none comes breaks ``breaks``; without it, it is an error.

        It was written after all that had been reported before was read: a parent may write one status first, no other.
        """
        self.status()
        last: list[Status] = []

        def answer() -> Status | None:
            last[:] = [self.status()]
            return last[0] if ask(last[0]) else None

        try:
            found = until(answer, seconds, what=what)
        except TimedOut as error:
            seen = f"{error}; the status was last {last[0]}"
            if breaks:
                raise Broken(breaks, seen) from None
            raise TimedOut(seen) from None
        assert found is not None
        return found

    def settle(self) -> None:
        """Wait until every worker has nothing to do and is asleep.

        The welcome, if there is one, has then been answered: it makes its worker runnable when it is written, so a
        worker that sleeps afterwards has dealt with it.
        """
        if self.has_status:
            self.until("a quiet pool", lambda s: s.quiet and s.counters.get("probes", 0) >= len(s.workers))
        pids = [self.pid, *self.workers()]
        until(lambda: all(kernel.state(pid) == "S" for pid in pids), what="all processes of the pool to sleep")

    # ------------------------------------------------------------------------------------- the end

    def signal(self, number: int) -> None:
        """Send a signal to the parent."""
        os.kill(self.pid, number)

    def gate(self, text: str = "") -> None:
        """What a worker finds while it starts: ``fail``, ``wait``, or nothing."""
        if text:
            # at once, or a worker might read half of it
            new = self._gate.with_suffix(".new")
            new.write_text(text)
            new.rename(self._gate)
        else:
            self._gate.unlink(missing_ok=True)

    def replaced(self) -> int:
        """Wait until the old parent has exited and its successor answers; return the old one's exit status."""
        status = self.wait()
        self.pid = self.until("the successor", lambda s: s.pid != self.process.pid).pid
        return status

    def wait(self, seconds: float = 15.0) -> int:
        """Wait for the parent to exit; its exit status, negative for a signal. Also fills :attr:`usage`."""
        if self.status_code is None:
            found, status, usage = until(
                lambda: result if (result := os.wait4(self.pid, os.WNOHANG))[0] else None,
                seconds,
                what=f"{self.manifest.name} to exit",
            ) or (0, 0, None)
            assert found
            assert usage
            self.usage = usage.ru_nvcsw
            self.status_code = os.waitstatus_to_exitcode(status)
            self.process.returncode = self.status_code
        return self.status_code

    def stop(self) -> int:
        """Drain by SIGTERM and wait."""
        if self.status_code is None:
            self.signal(signal.SIGTERM)
        elif self.pid != self.process.pid:
            # not our child, so its exit status is not for us
            self.signal(signal.SIGTERM)
            until(lambda: kernel.state(self.pid) in ("", "Z"), 15.0, what="the successor to exit")
        return self.wait()

    def close(self) -> list[int]:
        """Kill what is left. Returns the processes that had outlived a pool that was stopped."""
        if hasattr(self, "client"):
            self.client.close()
        left: list[int] = []
        if self.status_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.status_code = self.process.returncode
        elif SEES_PROCESSES:
            if self.pid != self.process.pid:
                self.stop()
            left = _alive(self.process.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if SEES_PROCESSES:
            until(lambda: not _alive(self.process.pid), what="the pool's processes to go")
        if self.process.stdout:
            self.process.stdout.close()
        self._directory.cleanup()
        return left


def _address(word: str) -> Address:
    if word.startswith("unix:"):
        return word.removeprefix("unix:")
    host, _, port = word.rpartition(":")
    return host.strip("[]"), int(port)


def _alive(leader: int) -> list[int]:
    """Processes of the session that run. Orphans that are dead wait for init, and that is not the pool's fault."""
    return [pid for pid in kernel.session_of(leader) if kernel.state(pid) not in ("", "Z")]


def _read_line(stream: IO[bytes], seconds: float) -> bytes:
    """One line, or what there was of it at the end or the time limit."""
    deadline = deadline_in(seconds)
    data = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not data.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                break
            if not (part := os.read(stream.fileno(), 1)):
                break
            data += part
    return data.rstrip(b"\n")
