"""Role *pool*: parent and workers together, as users run them.

A pool is started from a manifest, and cleaned up afterwards.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import kernel, processes, status_document
from .client import Address, Client
from .errors import ContractError, RequirementViolated
from .manifest import Manifest, unless_set
from .port_output import tail
from .status_document import Status
from .waiting import TimedOut, line_of, scale, until

__all__ = ["PoolUnderTest", "Status"]

READY_LIMIT = 60.0
"""Seconds that a pool has for its workers to be ready."""
NEWS_LIMIT = 30.0
"""Seconds until a status shows what must come: a new worker's start, more often than not, on a busy machine."""
LONGEST = 4096
"""Octets of the line with READY that are read."""
SEES_PROCESSES = kernel.can("session_of") and kernel.can("state")


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


class PoolUnderTest:
    """One running pool. Its processes have a session of their own, so that all of them can be found."""

    def __init__(
        self, manifest: Manifest, options: Mapping[str, str], log: Path, passed: Sequence[socket.socket] = ()
    ) -> None:
        self.manifest = manifest
        self.log = log
        self._directory = tempfile.TemporaryDirectory(prefix="bc-")
        self.status_path = f"{self._directory.name}/status"
        self._gate = Path(self._directory.name) / "gate"
        self.options = {**unless_set(), "status": self.status_path, "gate": str(self._gate), **options}
        if not self.options["policy"]:
            self.options["policy"] = "lowest" if self.options["capacity"] == "1" else "least-loaded"
        self.role = manifest.roles["pool"]
        template = self.role.command("command" if self.options["capacity"] == "1" else "command_event")
        environment = {key: manifest.fill(value, self.options) for key, value in self.role.environment.items()}
        command = [manifest.fill(part, self.options) for part in template]
        self._passed = [f"unix:{sock.getsockname()}" for sock in passed]
        if passed:
            command = [
                sys.executable,
                "-c",
                _PASS,
                str(len(passed)),
                *(str(sock.fileno()) for sock in passed),
                *command,
            ]
        numbers = [sock.fileno() for sock in passed]
        self.process = processes.start(command, environment, log, stdout=subprocess.PIPE, pass_fds=numbers)
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
        line = line_of(stdout, READY_LIMIT, LONGEST)
        if not line.startswith(b"READY "):
            raise ContractError(self._not_ready(f"it wrote {line!r}" if line else "it wrote nothing"))
        try:
            return [self._address(word.decode()) for word in line.split()[1:]]
        except ValueError:
            what = f"it wrote {line!r}, and READY is followed by addresses of this machine, HOST:PORT or unix:PATH"
            raise ContractError(self._not_ready(what)) from None

    def _address(self, word: str) -> Address:
        """An address after READY. Raises ``ValueError`` for anything else, and for an address that was not asked for:
        the suite is going to put a load on it, which no stranger must have to bear.
        """
        if word.startswith("unix:"):
            if word not in self.options["listen"].split(",") and word not in self._passed:
                raise ValueError(word)
            return word.removeprefix("unix:")
        host, _, port = word.rpartition(":")
        host = host.strip("[]")
        if not ipaddress.ip_address(host).is_loopback or not 0 < int(port) < 1 << 16:
            raise ValueError(word)
        return host, int(port)

    def _not_ready(self, what: str) -> str:
        # a process that has closed its standard output may be about to exit
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        code = self.process.poll()
        state = (
            f"after {READY_LIMIT * scale():g} s at most it still runs"
            if code is None
            else f"it has exited with status {code}"
        )
        last = tail(self.log)
        log = f"its standard error ends:\n{last}" if last else "its standard error is empty"
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
        """Read the status document: see :func:`status_document.read`."""
        return status_document.read(self.status_path)

    def workers(self) -> list[int]:
        """Process ids of the workers: by the status document, or else the rest of the session."""
        if self.has_status:
            return list(self.status().pids().values())
        return [pid for pid in kernel.session_of(self.pid) if pid != self.pid]

    def until(self, what: str, ask: Any, seconds: float = NEWS_LIMIT, *, breaks: str = "") -> Status:
        """The first status for which ``ask`` is true. If none comes, the requirement ``breaks`` is violated; without
        ``breaks``, :class:`TimedOut` is raised.

        One status is read first and dropped: a parent may have written it before it read the latest reports.
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
                raise RequirementViolated(breaks, seen) from None
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
        processes.send(self.pid, number)

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
        status = self.wait(READY_LIMIT + 15.0)  # a successor must be ready before the old parent may go
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
        if self.status_code is not None and SEES_PROCESSES:
            if self.pid != self.process.pid:
                self.stop()
            left = processes.alive(self.process.pid)
        processes.end(self.process)
        if self.status_code is None:
            self.status_code = self.process.returncode
        if SEES_PROCESSES:
            until(lambda: not processes.alive(self.process.pid), what="the pool's processes to go")
        if self.process.stdout:
            self.process.stdout.close()
        self._directory.cleanup()
        return left
