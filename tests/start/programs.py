"""Servers as people start them, for what must hold however they are started: a log, a directory, signals."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

MODULES = ("backchannel_sync", "backchannel_trio")

HANDLERS = {
    "backchannel_sync": """
def handle(connection):
    connection.recv(100)
    connection.sendall(SAYS)
""",
    "backchannel_trio": """
async def handle(stream):
    await stream.receive_some(100)
    await stream.send_all(SAYS)
""",
}
"""A handler ``handle`` that answers with ``SAYS``, which the file that holds it defines."""


def handler(folder: Path, module: str, says: str, *, before: str = "", name: str = "greeter") -> None:
    """Write ``name``.py, which answers ``says``, an expression; ``before`` stands at its head."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(f"import os\n{before}\nSAYS = {says}\n{HANDLERS[module]}")


class Program:
    """One server. ``stderr`` is a file in ``folder`` by default, whose text is :attr:`log`."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        module: str = "backchannel_sync",
        prefix: Sequence[str] = (),
        cwd: Path | None = None,
        environment: Mapping[str, str | None] | None = None,
        stderr: IO[bytes] | int | None = None,
        stdout: IO[bytes] | int | None = subprocess.DEVNULL,
        listen: bool = True,
        pass_fds: Sequence[int] = (),
        python: str = sys.executable,
        options: Sequence[str] = (),
    ) -> None:
        if module == "backchannel_trio":
            pytest.importorskip("trio")
        self.module = module
        self._short = tempfile.TemporaryDirectory(prefix="bc-")
        self.status = f"{self._short.name}/status"
        self._log = folder / f"log-{os.path.basename(self._short.name)}"
        self._ready, writer = os.pipe()
        where = ["--listen", "127.0.0.1:0"] if listen else []
        wanted = {**os.environ, **(environment or {})}
        own = ["--ready-fd", str(writer), "--status", self.status]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, python, *options, "-m", module, *where, *own, *arguments],
                cwd=cwd or folder,
                env={name: value for name, value in wanted.items() if value is not None},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=log if stderr is None else stderr,
                pass_fds=[writer, *pass_fds],
                start_new_session=True,
            )
        os.close(writer)
        self.address = ("127.0.0.1", 0)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def ready(self) -> Program:
        """Wait until it is."""
        said = b""
        deadline = time.monotonic() + 60
        while not said.endswith(b"\n"):
            left = deadline - time.monotonic()
            assert select.select([self._ready], [], [], max(0.0, left))[0], f"not ready; its log: {self.log[-2000:]}"
            piece = os.read(self._ready, 1000)
            assert piece, f"it ended with {self.process.wait(30)}; its log: {self.log[-2000:]}"
            said += piece
        host, _, port = said.decode().split()[1].rpartition(":")
        self.address = (host, int(port))
        return self

    def ask(self, data: bytes = b"?\n") -> bytes:
        """What it answers to one connection."""
        with self.connect() as client:
            client.sendall(data)
            return b"".join(iter(lambda: client.recv(4096), b""))

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=60)

    def document(self) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(self.status)
            document: dict[str, Any] = json.loads(b"".join(iter(lambda: client.recv(65536), b"")))
            return document

    def pids(self) -> set[int]:
        """Of its workers that are READY."""
        return {worker["pid"] for worker in self.document()["workers"] if worker["state"] == "READY"}

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def until(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError, ValueError):
                if holds():
                    return
            assert time.monotonic() < deadline, f"waited for {what}; the log ends: {self.log[-2000:]}"
            time.sleep(0.01)

    def reload(self) -> str:
        """Reload, as the page says; what the command says."""
        command = [sys.executable, "-m", "backchannel_tools.reload", self.status]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        return done.stdout + done.stderr

    def replace(self) -> None:
        """SIGUSR2, and wait until the successor has taken over, and nobody is left that began with the old parent.

        A worker of a traditional pool accepts until it has been told to leave, beside the successor's.
        """
        before, workers = self.document()["pid"], self.pids()
        self.signal(signal.SIGUSR2)
        self.until(lambda: self.document()["pid"] != before, "the successor")
        self.until(lambda: not any(is_there(pid) for pid in workers), "the end of the old workers")

    def close(self) -> None:
        os.close(self._ready)
        for number in (signal.SIGINT, signal.SIGKILL):  # to all that it has started, a successor as well
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self.process.pid, number)
                self.process.wait(10)
        self._short.cleanup()


def is_there(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Gate:
    """A place where a program waits until it is let go on: a line of Python, a file that says that it is there."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self._there, self._go = folder / f"{name}-there", folder / f"{name}-go"
        os.mkfifo(self._go)
        # the FIFO has a reader and a writer here, so that nobody's opening waits and nothing is lost
        self._fd = os.open(self._go, os.O_RDWR)

    @property
    def code(self) -> str:
        """Wait here: the process id goes into the file."""
        return (
            f"import os as _os\nwith open({str(self._there)!r} + '.new', 'w') as _f: _f.write(str(_os.getpid()))\n"
            f"_os.rename({str(self._there)!r} + '.new', {str(self._there)!r})\n"
            f"with open({str(self._go)!r}, 'rb', buffering=0) as _f: _f.read(1)\n"
        )

    def pid(self) -> int:
        """Wait until somebody is there; who."""
        deadline = time.monotonic() + 60
        while not self._there.exists():
            assert time.monotonic() < deadline, "nobody came to the gate"
            time.sleep(0.01)
        return int(self._there.read_text())

    def open(self, count: int = 1) -> None:
        """Let ``count`` go on."""
        os.write(self._fd, b"." * count)

    def close(self) -> None:
        os.close(self._fd)


def at_import(folder: Path, name: str, code: str, only: str = "True") -> dict[str, str]:
    """An environment in which ``code`` runs when module ``name`` is looked for, if ``only`` holds then."""
    hook = folder / "hook"
    hook.mkdir(exist_ok=True)
    body = "".join(f"            {line}\n" for line in code.splitlines())
    (hook / "sitecustomize.py").write_text(
        f"""
import os, sys

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {name!r} and ({only}):
            sys.meta_path.remove(Finder)
{body}        return None

sys.meta_path.insert(0, Finder)
"""
    )
    return {"PYTHONPATH": str(hook)}


@contextlib.contextmanager
def programs() -> Iterator[Callable[..., Program]]:
    started: list[Program] = []

    def start(*arguments: Any, **more: Any) -> Program:
        started.append(Program(*arguments, **more))
        return started[-1]

    try:
        yield start
    finally:
        for program in started:
            program.close()


@contextlib.contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """A pipe, both ends, that takes nothing more; writing to it would wait."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def needs(program: str) -> str:
    """Its path; without it the test is skipped."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"there is no {program}")
    return found
