"""Signals from the first instruction on: none is lost, and none ends a server without a word."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backchannel_server.signals import Interrupted, held, interruptible
from programs import MODULES, Gate, Program, at_import, handler, needs

Start = Callable[..., Program]

EARLY = {"backchannel_sync": "backchannel.parent", "backchannel_trio": "backchannel.parent"}
"""A module that is imported long before the loop runs."""


def at_the_gate(folder: Path, start: Start, gate: Gate, module: str, prefix: tuple[str, ...] = ()) -> Program:
    """A server that waits at the gate while it is imported."""
    handler(folder, module, 'b"served"')
    environment = at_import(folder, EARLY[module], gate.code, f"'-m' in sys.orig_argv and {module!r} in sys.orig_argv")
    program = start(folder, "greeter:handle", module=module, environment=environment, prefix=prefix)
    assert gate.pid() == program.process.pid
    return program


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
def test_while_the_server_is_imported(
    tmp_path: Path, start: Start, gate: Gate, module: str, number: signal.Signals
) -> None:
    program = at_the_gate(tmp_path, start, gate, module)
    program.signal(number)
    gate.open()
    if number == signal.SIGTERM:
        assert program.process.wait(60) == 0
        assert "stopping" in program.log
    elif number == signal.SIGINT:
        assert program.process.wait(60) == 130
    else:
        program.ready()
        assert program.ask() == b"served"
        said = "reload: generation 2 begins" if number == signal.SIGHUP else "workers spawned"
        program.until(lambda: said in program.log, said)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_ignored_by_whoever_starts_it(
    tmp_path: Path, start: Start, gate: Gate, module: str, number: signal.Signals
) -> None:
    """As a shell does with SIGINT for what it puts into the background, and ``nohup`` with SIGHUP."""
    program = at_the_gate(tmp_path, start, gate, module, ("sh", "-c", 'trap "" INT HUP && exec "$@"', "sh"))
    program.signal(number)
    gate.open()
    if number == signal.SIGINT:
        assert program.process.wait(60) == 130
    else:
        program.until(lambda: "reload: generation 2 begins" in program.log, "the reload")


def test_replacement_asked_for_while_the_server_is_imported(tmp_path: Path, start: Start, gate: Gate) -> None:
    handler(tmp_path, "backchannel_sync", 'b"%d" % os.getppid()')
    only = "'BACKCHANNEL_SUCCESSION' not in os.environ"
    program = start(tmp_path, "greeter:handle", environment=at_import(tmp_path, "backchannel.parent", gate.code, only))
    gate.pid()
    program.signal(signal.SIGUSR2)
    gate.open()
    program.ready()
    program.until(lambda: program.document()["pid"] != program.process.pid, "the successor")
    assert int(program.ask()) != program.process.pid


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_end_while_the_handler_is_preloaded(
    tmp_path: Path, start: Start, gate: Gate, number: signal.Signals, status: int
) -> None:
    """At once, though its code would go on for ever, and with nothing left behind."""
    handler(tmp_path, "backchannel_sync", 'b""', before=gate.code)
    program = start(tmp_path, "--preload", "greeter:handle")
    gate.pid()
    assert os.path.exists(program.status)
    program.signal(number)
    assert program.process.wait(60) == status
    assert f"{number.name} while the handler was being loaded" in program.log
    assert not os.path.exists(program.status)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_others_while_the_handler_is_preloaded(
    tmp_path: Path, start: Start, gate: Gate, number: signal.Signals
) -> None:
    handler(tmp_path, "backchannel_sync", 'b"served"', before=gate.code)
    program = start(tmp_path, "--preload", "greeter:handle")
    gate.pid()
    program.signal(number)
    gate.open()
    assert program.ready().ask() == b"served"
    said = "reload: generation 2 begins" if number == signal.SIGHUP else "workers spawned"
    program.until(lambda: said in program.log, said)


def test_code_that_catches_everything() -> None:
    """The signal is held back again, and has its effect later."""
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: came.append(number))
    try:
        with held():
            with interruptible():
                with contextlib.suppress(Interrupted):
                    signal.raise_signal(signal.SIGTERM)
            assert not came
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


STARTING = {
    "forked": ("backchannel_sync", ()),
    "traditional": ("backchannel_sync", ("--traditional",)),
    "trio": ("backchannel_trio", ()),
}


@pytest.mark.parametrize("kind", STARTING)
def test_stop_while_workers_start(tmp_path: Path, start: Start, gate: Gate, kind: str) -> None:
    """Nobody waits for code that would load for ever, whatever the deadlines (BC-STOP-04)."""
    module, more = STARTING[kind]
    handler(tmp_path, module, 'b""', before=gate.code)
    unhurried = ("--start-deadline", "600", "--drain-deadline", "600", "--stop-deadline", "600")
    program = start(tmp_path, "--workers", "2", *unhurried, *more, "greeter:handle", module=module)
    gate.pid()
    program.signal(signal.SIGTERM)
    assert program.process.wait(60) == 0


@pytest.mark.parametrize("module", MODULES)
def test_whole_group_while_workers_start(tmp_path: Path, start: Start, gate: Gate, module: str) -> None:
    """A shell's ``kill -HUP %1`` means the parent, from a worker's first import on."""
    handler(tmp_path, module, 'b"%d" % os.getpid()')
    name = {"backchannel_sync": "greeter", "backchannel_trio": "backchannel.worker"}[module]
    only = "os.getppid() != " + str(os.getpid())
    environment = at_import(tmp_path, name, gate.code, only)
    program = start(tmp_path, "--workers", "1", "greeter:handle", module=module, environment=environment)
    worker = gate.pid()
    assert worker != program.process.pid
    os.killpg(program.process.pid, signal.SIGUSR1)
    gate.open(10)
    program.ready()
    assert int(program.ask()) == worker
    assert "ended by signal" not in program.log


@pytest.mark.parametrize("module", MODULES)
def test_second_signal_while_stopping(tmp_path: Path, start: Start, module: str) -> None:
    """A second SIGTERM changes nothing; SIGINT ends it at once."""
    handler(tmp_path, module, 'b"served"')
    program = start(tmp_path, "--workers", "1", "--drain-deadline", "600", "greeter:handle", module=module).ready()
    with program.connect() as held_open:
        program.until(lambda: any(worker["open"] for worker in program.document()["workers"]), "the connection")
        for _ in range(2):
            program.signal(signal.SIGTERM)
            program.until(lambda: program.document()["state"] == "stopping", "the stop")
        held_open.sendall(b"?\n")
        assert held_open.recv(100) == b"served"
    assert program.process.wait(60) == 0

    program = start(tmp_path, "--workers", "1", "--drain-deadline", "600", "greeter:handle", module=module).ready()
    with program.connect():
        program.until(lambda: any(worker["open"] for worker in program.document()["workers"]), "the connection")
        program.signal(signal.SIGTERM)
        program.until(lambda: program.document()["state"] == "stopping", "the stop")
        program.signal(signal.SIGINT)
        assert program.process.wait(60) == 130


@pytest.mark.parametrize("module", MODULES)
def test_reload_of_a_successor_that_is_imported(tmp_path: Path, start: Start, gate: Gate, module: str) -> None:
    """SIGHUP does not end it, and the reload begins when it has the listeners."""
    handler(tmp_path, module, 'b"served"')
    only = "'BACKCHANNEL_SUCCESSION' in os.environ"
    environment = at_import(tmp_path, "backchannel.parent", gate.code, only)
    program = start(tmp_path, "greeter:handle", module=module, environment=environment).ready()
    program.signal(signal.SIGUSR2)
    successor = gate.pid()
    os.kill(successor, signal.SIGHUP)
    gate.open(10)
    program.until(lambda: program.document()["pid"] == successor, "the successor")
    program.until(lambda: "reload: generation 2 serves" in program.log, "its reload")
    assert "the reload begins when this parent has the listeners" in program.log
    assert program.ask() == b"served"


@pytest.fixture
def unshare() -> Iterator[tuple[str, ...]]:
    """The command that makes a program process 1 of a namespace of its own."""
    words = [needs("unshare"), "--pid", "--fork", "--kill-child"]
    for more in ((), ("--user", "--map-root-user")):
        if not subprocess.run([*words, *more, "true"], capture_output=True, check=False).returncode:
            yield (*words, *more)
            return
    pytest.skip("no PID namespace is to be had here")


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_process_1_while_it_is_imported(
    tmp_path: Path, start: Start, gate: Gate, unshare: tuple[str, ...], module: str, number: signal.Signals
) -> None:
    """There the system drops what has no handler: it must be held back, to be remembered."""
    handler(tmp_path, module, 'b"served"')
    environment = at_import(tmp_path, "backchannel.parent", gate.code, "os.getpid() == 1")
    program = start(tmp_path, "greeter:handle", module=module, environment=environment, prefix=unshare)
    assert gate.pid() == 1
    children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text()
    os.kill(int(children), number)
    gate.open()
    if number == signal.SIGHUP:
        assert program.ready().ask() == b"served"
        program.until(lambda: "reload: generation 2 begins" in program.log, "the reload")
    else:
        assert program.process.wait(60) == (0 if number == signal.SIGTERM else 130)


@pytest.mark.parametrize("kind", STARTING)
def test_stop_with_a_deadline_of_a_year(tmp_path: Path, start: Start, kind: str) -> None:
    """Which no poller can wait for at once: who holds a connection finishes what it does."""
    module, more = STARTING[kind]
    handler(tmp_path, module, 'b"served"')
    year = ("--drain-deadline", "31536000", "--stop-deadline", "31536000")
    program = start(tmp_path, "--workers", "1", *year, *more, "greeter:handle", module=module).ready()
    with program.connect() as client:
        program.until(lambda: any(worker["open"] for worker in program.document()["workers"]), "the connection")
        program.signal(signal.SIGTERM)
        program.until(lambda: program.document()["state"] == "stopping", "the stop")
        client.sendall(b"?\n")
        assert client.recv(100) == b"served"
    assert program.process.wait(60) == 0


LONG_WAITS = """
import os
from backchannel_sync import Wait

def handle(connection):
    if (yield from connection.recv(100)) == b"wait\\n":
        yield Wait(0, until=1e12)
    yield from connection.sendall(b"%d" % os.getpid())
"""


def test_handler_that_waits_for_ever(tmp_path: Path, start: Start) -> None:
    """A time that no poller can wait for is no reason to end others, nor is a worker's own deadline."""
    (tmp_path / "waiting.py").write_text(LONG_WAITS)
    options = ("--workers", "1", "--capacity", "9", "--drain-deadline", "31536000")
    program = start(tmp_path, *options, "waiting:handle").ready()
    before = program.ask()
    with program.connect() as waiting, program.connect() as client:
        waiting.sendall(b"wait\n")
        assert program.ask() == before
        program.until(lambda: program.document()["workers"][0]["open"] == 2, "both connections")
        program.signal(signal.SIGHUP)
        program.until(lambda: program.document()["board"].count("D") == 1, "the drain")
        client.sendall(b"?\n")
        assert client.recv(100) == before


HELD_BACK = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {}); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.mark.parametrize("kind", STARTING)
def test_signals_that_are_held_back_when_it_is_started(tmp_path: Path, start: Start, kind: str) -> None:
    """Who starts it may wait for its own children by other means, and pass the mask on: deaths are noticed anyway."""
    module, more = STARTING[kind]
    handler(tmp_path, module, 'b"%d" % os.getpid()')
    prefix = (sys.executable, "-c", HELD_BACK.format("[signal.SIGCHLD, signal.SIGTERM]"))
    program = start(tmp_path, "--workers", "2", *more, "greeter:handle", module=module, prefix=prefix).ready()
    before = program.pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    program.until(lambda: len(program.pids() - before) == 2, "new workers")
    program.signal(signal.SIGTERM)
    assert program.process.wait(60) == 0
