"""A worker is started whatever has become of the log, of standard output, and of the current directory."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from backchannel_server import standard
from backchannel_server.fork_binding import Reasons
from backchannel_server.logs import Lines
from programs import MODULES, Program, full_pipe, handler, needs

Start = Callable[..., Program]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
TWO = ("--min", "2", "--start", "2", "--max", "2", "greeter:handle")


def replaced(program: Program) -> None:
    """Kill its workers, twice, as the system does for want of memory: others must take their places."""
    for _ in range(2):
        program.until(lambda: len(program.pids()) == 2, "both workers")
        before = program.pids()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert program.ask().isdigit()
        program.until(lambda before=before: len(program.pids() - before) == 2, "new workers")


@pytest.mark.parametrize("module", MODULES)
def test_reader_of_the_log_has_died(tmp_path: Path, start: Start, module: str) -> None:
    handler(tmp_path, module, 'b"%d" % os.getpid()')
    reader, writer = os.pipe()
    program = start(tmp_path, *TWO, module=module, stderr=writer, stdout=writer)
    os.close(writer)
    program.ready()
    os.close(reader)
    replaced(program)


@needs_full
@pytest.mark.parametrize("module", MODULES)
def test_disk_of_the_log_is_full(tmp_path: Path, start: Start, module: str) -> None:
    handler(tmp_path, module, 'b"%d" % os.getpid()')
    with FULL.open("wb") as full:
        replaced(start(tmp_path, *TWO, module=module, stderr=full, stdout=full).ready())


@pytest.mark.parametrize("module", MODULES)
def test_reader_of_the_log_stands_still(tmp_path: Path, start: Start, module: str) -> None:
    """Nobody waits for it; when it reads again, the log says how much it has missed."""
    handler(tmp_path, module, 'b"%d" % os.getpid()', before='print("noise", flush=False)')
    with full_pipe() as (reader, writer):
        program = start(tmp_path, *TWO, module=module, stderr=writer).ready()
        replaced(program)
        os.set_blocking(reader, False)
        with contextlib.suppress(BlockingIOError):
            while os.read(reader, 1 << 16):
                pass
        program.signal(signal.SIGUSR1)
        text, deadline = b"", time.monotonic() + 60
        while b"workers spawned" not in text:
            assert select.select([reader], [], [], max(0, deadline - time.monotonic()))[0], text
            text += os.read(reader, 1 << 16)
    assert re.search(rb"WARNING lines of this log dropped: [1-9]\d*;", text), text


@pytest.mark.parametrize("module", MODULES)
def test_standard_descriptors_are_closed(tmp_path: Path, start: Start, module: str) -> None:
    """Their numbers are taken all the same: what a handler prints goes to no client."""
    noise = 'import sys\nprint("noise", flush=True)\nos.write(1, b"noise")\nos.write(2, b"noise")'
    handler(tmp_path, module, 'b"%d" % os.getpid()', before=noise)
    program = start(tmp_path, *TWO, module=module, prefix=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")).ready()
    replaced(program)


@pytest.mark.parametrize("module", MODULES)
def test_current_directory_has_gone(tmp_path: Path, start: Start, module: str) -> None:
    handler(tmp_path / "code", module, 'b"%d" % os.getpid()')
    gone = tmp_path / "gone"
    gone.mkdir()
    program = start(tmp_path, *TWO, module=module, cwd=gone, environment={"PYTHONPATH": str(tmp_path / "code")}).ready()
    shutil.rmtree(gone)
    replaced(program)
    assert "cannot enter" in program.log


@needs_full
@pytest.mark.parametrize("module", MODULES)
def test_exit_status_does_not_depend_on_the_log(tmp_path: Path, start: Start, module: str) -> None:
    """A handler that cannot be loaded is a reason to give up, not to try for ever, though it cannot be said."""
    handler(tmp_path, module, 'b""', before='print("noise")\nraise RuntimeError("broken")')
    with FULL.open("wb") as full:
        assert start(tmp_path, *TWO, module=module, stderr=full, stdout=full).process.wait(60) == 78


@needs_full
@pytest.mark.parametrize("module", MODULES)
def test_wrong_option_where_it_cannot_be_said(tmp_path: Path, start: Start, module: str) -> None:
    with FULL.open("wb") as full:
        assert start(tmp_path, "--min", "9", "--max", "3", *TWO[-1:], module=module, stderr=full).process.wait(60) == 2


def test_socket_that_takes_a_part(tmp_path: Path) -> None:
    """A supervisor's log is a stream socket, as a rule: one that has no room for all must not be waited for."""

    ours, theirs = socket.socketpair()
    with ours, theirs:
        while standard.write(ours.fileno(), b"x" * 100_000):
            pass
        assert not standard.write(ours.fileno(), b"x" * 100_000)


def test_line_that_cannot_be_made(capfd: pytest.CaptureFixture[str]) -> None:
    """It is written as far as it can be, and nothing is raised."""
    lines = Lines()
    for message, arguments in (("%d", ("not a number",)), ("odd \udc80", ())):
        lines.handle(logging.LogRecord("name", logging.ERROR, "", 0, message, arguments, None))
    assert capfd.readouterr().err.splitlines()[0].startswith("ERROR '%d' (it cannot be written")


def test_a_worker_does_not_count_what_its_parent_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    with full_pipe() as (reader, writer):
        monkeypatch.setattr(standard, "ERROR", writer)
        lines = Lines()
        record = logging.LogRecord("name", logging.ERROR, "", 0, "text", (), None)
        lines.handle(record)
        os.read(reader, 1 << 20)
        if not (pid := os.fork()):
            lines.handle(record)
            os._exit(0)
        os.waitpid(pid, 0)
        assert os.read(reader, 1 << 16) == b"text\n"
        lines.handle(record)
        assert os.read(reader, 1 << 16).startswith(b"lines of this log dropped: 1;")


def test_reasons_that_nobody_takes() -> None:
    """Very many workers fail before the parent looks: none of them waits for it."""
    reasons = Reasons()
    try:
        for number in range(1000):
            reasons.give(f"{number} " + "x" * 400)
        assert reasons.take()
    finally:
        reasons.close()


def test_ready_descriptor_that_takes_nothing(tmp_path: Path, start: Start) -> None:
    """Whoever asked for READY does not read: that is said, and the pool serves."""
    handler(tmp_path, "backchannel_sync", 'b"served"')
    with full_pipe() as (_, writer):
        program = start(tmp_path, "greeter:handle", "--ready-fd", "1", stdout=writer)
        program.until(lambda: "no process reads READY" in program.log, "the warning")
        program.until(lambda: "ready on" in program.log, "the pool")
        host, _, port = program.log.split("ready on ")[1].split()[0].rpartition(":")
        program.address = (host, int(port))
        assert program.ask() == b"served"


def test_worker_of_one_s_own_and_a_full_log(tmp_path: Path, start: Start) -> None:
    """A worker that is a program (``--worker``) is started and replaced all the same."""
    handler(tmp_path, "backchannel_sync", 'b"%d" % os.getpid()')
    command = f"{needs('env')} {sys.executable} -m backchannel_sync.worker greeter:handle"
    with full_pipe() as (_, writer):
        options = ("--workers", "2", "--worker", command)
        replaced(start(tmp_path, *options, stderr=writer, stdout=subprocess.DEVNULL).ready())


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("when", ["before", "later"])
def test_trace_that_cannot_be_written(tmp_path: Path, start: Start, module: str, when: str) -> None:
    """Its directory is not there, or has gone: that is said once, and nothing else depends on it."""
    handler(tmp_path, module, 'b"%d" % os.getpid()')
    traces = tmp_path / "traces"
    if when == "later":
        traces.mkdir()
    program = start(tmp_path, *TWO, module=module, environment={"BACKCHANNEL_TRACE": str(traces)}).ready()
    if when == "later":
        assert list(traces.iterdir())
        # moved, because the server may be writing another line while its files are removed
        traces.rename(tmp_path / "elsewhere")
    replaced(program)
    assert program.log.count("ends here") == 1
