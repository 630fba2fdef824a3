"""A trio server as a user starts it, with warnings as errors in parent and workers: what it says, serves and leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_server import Server

HANDLERS = """
import sys
from contextlib import asynccontextmanager
import trio

async def greet(stream):
    data = await stream.receive_some(100)
    if data == b"fail":
        raise ZeroDivisionError("in the handler")
    if data == b"thread":
        await trio.to_thread.run_sync(lambda: None)
    await stream.send_all(b"hello")

def plain(connection):
    pass

async def application(scope, receive, send):
    pass

@asynccontextmanager
async def service():
    print("started", file=sys.stderr)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        yield greet
        nursery.cancel_scope.cancel()
    print("ended", file=sys.stderr)

@asynccontextmanager
async def ill():
    async with trio.open_nursery():
        raise OSError("no database")
    yield greet

@asynccontextmanager
async def odd():
    async with trio.open_nursery():
        yield plain

@asynccontextmanager
async def lingering():
    yield greet
    await trio.sleep_forever()

async def bare():
    yield greet
"""

LIGHT_WORKER = """
import os, struct
frame = struct.Struct("!BBBBIIII")
os.write(3, frame.pack(0x10, 0x49, 0, 0, 0x10100000, 0, 0, 1))
while data := os.read(3, 20):
    order = frame.unpack(data)[4]
    os.write(3, frame.pack(0x10, 0x42, 0, 0, order, 0, 0, 1))
"""
"""A worker that says hello, answers its welcome and waits; it starts in no time."""


class TrioServer(Server):
    module = "backchannel_trio"
    handlers = HANDLERS

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.status_path = folder / "status"
        super().__init__(folder, "--listen", "127.0.0.1:0", "--status", str(self.status_path), *arguments)

    def status(self) -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as reader:
            reader.connect(str(self.status_path))
            data = b""
            while part := reader.recv(1 << 16):
                data += part
        document: dict[str, object] = json.loads(data)
        return document

    def workers(self) -> dict[int, int]:
        """Process ids of the READY ones by slot."""
        workers = self.status()["workers"]
        assert isinstance(workers, list)
        return {worker["slot"]: worker["pid"] for worker in workers if worker["state"] == "READY"}

    def until_ready(self, count: int, without: int = 0) -> dict[int, int]:
        """Wait until so many workers are READY, ``without`` not being one of them."""
        deadline = time.monotonic() + 30
        while len(workers := self.workers()) != count or without in workers.values():
            assert time.monotonic() < deadline, f"still {workers}"
            time.sleep(0.005)
        return workers


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TrioServer]:
    made = TrioServer(tmp_path, "--workers", "2", "handlers_for_tests:greet")
    yield made
    if made.process.poll() is None:
        made.stop(signal.SIGINT)


def children(pid: int) -> list[tuple[int, str]]:
    """Process ids and states of the children of ``pid``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append((int(path.parent.name), fields[0]))
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc as on Linux")


def test_serves_and_stops(server: TrioServer) -> None:
    for _ in range(20):
        assert server.ask(b"hi") == b"hello"
    assert server.ask(b"thread") == b"hello"
    assert server.stop() == 0
    log = server.log.read_text()
    assert "Warning" not in log
    assert "Traceback" not in log
    assert not server.status_path.exists()


def test_handler_that_fails_is_logged_and_the_next_is_served(server: TrioServer) -> None:
    assert server.ask(b"fail") == b""
    assert server.ask(b"hi") == b"hello"
    assert server.stop() == 0
    log = server.log.read_text()
    assert log.count("ZeroDivisionError: in the handler") == 1
    assert log.count("Traceback") == 1


def test_a_service_lives_as_long_as_its_worker(tmp_path: Path) -> None:
    server = TrioServer(tmp_path, "--workers", "2", "handlers_for_tests:service")
    server.until_ready(2)
    assert server.log.read_text().count("started") == 2
    assert server.ask(b"hi") == b"hello"
    assert server.stop() == 0
    log = server.log.read_text()
    assert (log.count("started"), log.count("ended")) == (2, 2)
    assert "Traceback" not in log


def test_a_service_that_does_not_end_is_ended(tmp_path: Path) -> None:
    server = TrioServer(tmp_path, "--workers", "1", "--drain-deadline", "0.2", "handlers_for_tests:lingering")
    assert server.ask(b"hi") == b"hello"
    server.process.kill()
    assert server.stop() == -signal.SIGKILL
    # an orphan: there is nobody who could kill it, and it holds the log open until it has gone
    deadline = time.monotonic() + 30
    while "had not ended after 0.2 s: it was cancelled" not in server.log.read_text():
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.005)


def test_a_service_that_cannot_start_leaves_the_old_generation(tmp_path: Path) -> None:
    server = TrioServer(tmp_path, "--workers", "2", "handlers_for_tests:service")
    before = server.until_ready(2)
    broken = HANDLERS.replace("yield greet", "raise OSError('no database')\n        yield greet", 1)
    (tmp_path / "handlers_for_tests.py").write_text(broken)
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    while "cannot start, the old one goes on serving" not in server.log.read_text():
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.005)
    assert "OSError: no database" in server.log.read_text()
    assert server.workers() == before
    assert server.ask(b"hi") == b"hello"
    assert server.stop() == 0


def test_interrupt(server: TrioServer) -> None:
    assert server.stop(signal.SIGINT) == 130
    assert "Traceback" not in server.log.read_text()


@needs_proc
def test_deaths_leave_no_zombie_and_no_descriptor(server: TrioServer) -> None:
    pid = server.process.pid
    before = len(os.listdir(f"/proc/{pid}/fd"))
    victims = []
    for _ in range(4):
        victim = server.until_ready(2)[0]
        victims.append(victim)
        os.kill(victim, signal.SIGKILL)
        server.until_ready(2, without=victim)
    assert server.ask(b"hi") == b"hello"
    # the answer to the status request is the only thing that may be open still, and its reader has seen its end
    assert len(os.listdir(f"/proc/{pid}/fd")) <= before + 1
    alive = children(pid)
    assert len(alive) == 2
    assert not [state for _, state in alive if state == "Z"]
    assert not {victim for victim, _ in alive} & set(victims)
    assert server.stop() == 0


@needs_proc
def test_idle_parent_of_64_workers_sleeps(tmp_path: Path) -> None:
    """No wake-up at all while nothing happens, by the kernel's count, and less than 1 % of a processor."""
    (tmp_path / "light.py").write_text(LIGHT_WORKER)
    command = f"'{sys.executable}' -S -E '{tmp_path / 'light.py'}'"
    server = TrioServer(tmp_path, "--workers", "64", "--worker", command)
    server.until_ready(64)
    assert len(children(server.process.pid)) == 64
    assert all(state == "S" for _, state in children(server.process.pid))
    stat, status = (Path(f"/proc/{server.process.pid}/{name}") for name in ("stat", "status"))

    def figures() -> tuple[int, int]:
        fields = stat.read_text().rpartition(")")[2].split()
        switches = [line for line in status.read_text().splitlines() if line.startswith("voluntary")]
        return int(fields[11]) + int(fields[12]), int(switches[0].split()[1])

    time.sleep(0.2)  # the last status request is over by then; if it were not, the figures below would be too high
    ticks, switches = figures()
    began = time.monotonic()
    time.sleep(2.0)  # the figures are taken over this time
    took = time.monotonic() - began
    later = figures()
    assert later[1] - switches == 0, "the parent woke"
    assert (later[0] - ticks) / os.sysconf("SC_CLK_TCK") / took < 0.01
    assert server.stop() == 0


PROGRAM = """
import threading, trio
from backchannel import Scaling
from backchannel_trio import serve

async def main():
    async with trio.open_nursery() as nursery:
        # a thread of the program's own is there when workers are started: that is no business of theirs
        await trio.to_thread.run_sync(lambda: None)
        assert threading.active_count() > 1
        pool = await nursery.start(lambda task_status: serve(
            "handlers_for_tests:greet", "127.0.0.1:0", scaling=Scaling.fixed(2), task_status=task_status))
        host, port = pool.addresses[0].split(":")
        for _ in range(10):
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await stream.send_all(b"hi")
                assert await stream.receive_some() == b"hello"
        assert len(pool.document()["workers"]) == 2
        END
    print("ended")

trio.run(main)
"""


@pytest.mark.parametrize("end", ["pool.stop()", "nursery.cancel_scope.cancel()"])
def test_serve_inside_a_program(tmp_path: Path, end: str) -> None:
    (tmp_path / "handlers_for_tests.py").write_text(HANDLERS)
    (tmp_path / "program.py").write_text(PROGRAM.replace("END", end))
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert (done.returncode, done.stdout) == (0, "ended\n")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nothing:here"], 78, "there is no module 'nothing'; is its directory the current one, or on PYTHONPATH?"),
        (["handlers_for_tests:absent"], 78, "handlers_for_tests.py) has no 'absent'"),
        (
            ["handlers_for_tests:plain"],
            78,
            "is not an async function: write async def, or use python -m backchannel_sync",
        ),
        (["handlers_for_tests:application"], 78, "'application' cannot be called with one connection"),
        (["handlers_for_tests:odd"], 78, "handler 'handlers_for_tests:odd()' is not an async function"),
        (["handlers_for_tests:bare"], 78, "is an async generator: decorate it with contextlib.asynccontextmanager"),
        (["handlers_for_tests"], 2, "write MODULE:ATTRIBUTE"),
        (["--listen", "nowhere", "handlers_for_tests:greet"], 2, "write HOST:PORT"),
        (["--poller", "select", "handlers_for_tests:greet"], 2, "trio waits with"),
        (["--worker", "no-such-program-here"], 2, "there is no program 'no-such-program-here'"),
        ([], 2, "give a handler, MODULE:HANDLER, or --worker COMMAND"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], status: int, said: str) -> None:
    (tmp_path / "handlers_for_tests.py").write_text(HANDLERS)
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "backchannel_trio",
            "--workers",
            "1",
            "--listen",
            "127.0.0.1:0",
            *arguments,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == (1 if status == 2 else 2)


@pytest.mark.parametrize("module", ["backchannel_trio", "backchannel_trio.worker"])
def test_without_trio_it_says_so_in_one_line(module: str) -> None:
    reference = Path(__file__).parents[2] / "reference"
    path = os.pathsep.join(str(reference / name) for name in ("core", "server", "sync", "trio"))
    command = [sys.executable, "-S", "-m", module, "nothing:here"]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (78, "backchannel_trio needs trio: pip install trio\n")
