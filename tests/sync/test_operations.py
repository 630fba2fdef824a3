"""What an operator does: new code by SIGHUP and SIGUSR2, the state by SIGUSR1, a supervisor, a container."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CODE = """
import os, subprocess, sys

def handle(connection):
    match connection.recv(100):
        case b"orphan":
            # a grandchild whose parent goes: process 1 gets it
            subprocess.run([sys.executable, "-c", "import os, time; os.fork() or time.sleep(0.2)"])
            connection.sendall(b"done")
        case b"wait":
            connection.sendall(b"here")
            connection.recv(100)
            connection.sendall(b"done")
        case _:
            connection.sendall(b"%s %d %d")
"""


def write(folder: Path, version: str) -> None:
    """The handler's file; another version has another size, by which Python tells compiled code from old."""
    text = CODE.replace('b"%s %d %d"', f'b"{version} %d %d" % (os.getppid(), os.getpid())')
    (folder / "code_for_tests.py").write_text(f"{text}#{version}\n")


class Server:
    """One server, with what it logs and what it tells a supervisor."""

    def __init__(self, folder: Path, *arguments: str, prefix: tuple[str, ...] = ()) -> None:
        write(folder, "one")
        self.folder = folder
        self.log = folder / "log"
        self.short = tempfile.TemporaryDirectory(prefix="bc-")
        self.supervisor = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.supervisor.bind(f"{self.short.name}/notify")
        self.supervisor.settimeout(30)
        command = [
            sys.executable,
            "-W",
            "error",
            "-m",
            "backchannel_sync",
            "--ready-fd",
            "1",
            "--listen",
            "127.0.0.1:0",
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, *command, *arguments, "code_for_tests:handle"],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "NOTIFY_SOCKET": self.supervisor.getsockname()},
            )
        assert self.process.stdout
        host, _, port = self.process.stdout.readline().decode().split()[1].rpartition(":")
        self.address = (host, int(port))

    def told(self) -> list[str]:
        """The next thing that the supervisor is told."""
        return self.supervisor.recv(1000).decode().split("\n")

    def ask(self, text: bytes = b"hi") -> tuple[str, ...]:
        with socket.create_connection(self.address, timeout=30) as client:
            client.sendall(text)
            return tuple(client.recv(1000).decode().split())

    def until(self, ask: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 30
        while not ask():
            assert time.monotonic() < deadline, f"waited for {what}; the log ends: {self.log.read_text()[-1000:]}"
            time.sleep(0.01)

    def close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        assert self.process.stdout
        self.process.stdout.close()
        self.supervisor.close()
        self.short.cleanup()


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Server] = []

    def begin(*arguments: str, prefix: tuple[str, ...] = ()) -> Server:
        started.append(Server(tmp_path, *arguments, prefix=prefix))
        return started[-1]

    yield begin
    for server in started:
        server.close()


class Clients:
    """Three clients that keep asking, and what they were answered."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.enough = threading.Event()
        self.versions: list[str] = []
        self.failures: list[object] = []
        self.threads = [threading.Thread(target=self.run) for _ in range(3)]

    def run(self) -> None:
        while not self.enough.is_set():
            try:
                self.versions.append(self.server.ask()[0])
            except (OSError, IndexError) as error:
                self.failures.append(error)

    def __enter__(self) -> Clients:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.enough.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("how", ["rolling", "at-once"])
def test_reload_brings_the_edited_code(start: Start, how: str) -> None:
    """Edit the file, SIGHUP: new answers, no client fails, and the supervisor is told of both ends."""
    server = start("--workers", "3", "--reload", how)
    assert server.told()[0] == "READY=1"
    with Clients(server) as clients:
        write(server.folder, "second")
        server.process.send_signal(signal.SIGHUP)
        assert server.told()[0] == "RELOADING=1"
        assert server.told() == ["READY=1", "STATUS=generation 2 serves"]
        assert {server.ask()[0] for _ in range(5)} == {"second"}
    assert not clients.failures
    assert set(clients.versions) <= {"one", "second"}


def test_reload_with_broken_code(start: Start) -> None:
    """The old code goes on, the log says once what is wrong and where, and so is the supervisor told."""
    server = start("--workers", "3")
    server.told()
    (server.folder / "code_for_tests.py").write_text("def handle(connection):\n    pass\n\nimport no_such_thing\n")
    server.process.send_signal(signal.SIGHUP)
    server.told()
    assert server.told()[1].startswith("STATUS=generation 2 cannot start, the old one goes on serving")
    assert server.ask()[0] == "one"
    server.until(lambda: "No module named 'no_such_thing'" in server.log.read_text(), "the reason")
    assert server.log.read_text().count("No module named") == 1
    write(server.folder, "fixed, and longer")
    server.process.send_signal(signal.SIGHUP)
    server.told()
    assert server.told()[1] == "STATUS=generation 3 serves"
    assert server.ask()[0] == "fixed,"


def test_preloaded_code_is_replaced_with_its_parent(start: Start) -> None:
    """With --preload SIGHUP starts workers with the code that is there; SIGUSR2 brings the new one, and its pid."""
    server = start("--workers", "2", "--preload")
    server.told()
    write(server.folder, "second")
    server.process.send_signal(signal.SIGHUP)
    server.told()
    assert server.told()[1] == "STATUS=generation 2 serves"
    version, parent, _ = server.ask()
    assert (version, parent) == ("one", str(server.process.pid))
    assert "the parent itself has loaded code_for_tests" in server.log.read_text()
    with Clients(server) as clients:
        server.process.send_signal(signal.SIGUSR2)
        (main,) = server.told()
        assert server.process.wait(30) == 0
        assert server.told()[0] == "READY=1"
        version, parent, _ = server.ask()
        assert (version, f"MAINPID={parent}") == ("second", main)
    assert not clients.failures
    os.kill(int(parent), signal.SIGTERM)
    assert server.told() == ["STOPPING=1"]


def test_preloaded_handler_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "broken_for_tests.py").write_text("import no_such_thing\n")
    command = [sys.executable, "-m", "backchannel_sync", "--listen", "127.0.0.1:0", "--preload", "broken_for_tests:f"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78
    assert "No module named 'no_such_thing'" in done.stderr
    assert "Traceback" not in done.stderr


def test_state_is_logged_for_people(start: Start) -> None:
    server = start("--workers", "3")
    server.ask()
    server.process.send_signal(signal.SIGUSR1)
    server.until(lambda: "worker in slot 2" in server.log.read_text(), "the lines")
    log = server.log.read_text()
    assert "III running: 1 orders, 1 accepted, 0 expired, 3 workers spawned, 0 died" in log
    assert log.count("READY: 0 of 1 open") == 3


def test_state_is_logged_for_machines(start: Start) -> None:
    server = start("--workers", "2", "--log-format", "json")
    with socket.create_connection(server.address):
        server.process.send_signal(signal.SIGUSR1)
        server.until(lambda: server.log.read_text().count('"worker status"') == 2, "the lines")
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    (board,) = [line["board"] for line in lines if line.get("event") == "status"]
    assert set(board) <= {"I", "B"}
    worker = next(line["worker"] for line in lines if line.get("event") == "worker status")
    assert {"slot", "pid", "state", "open", "capacity", "orders", "accepted", "expired", "age"} <= set(worker)
    assert all({"time", "level", "logger", "pid", "message"} <= set(line) for line in lines)


def unshare() -> tuple[str, ...] | None:
    """A command that makes what follows process 1 of a world of its own, if this system and user may."""
    command = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    try:
        done = subprocess.run([*command, "true"], capture_output=True, check=False)
    except OSError:
        return None
    return None if done.returncode else command


def test_process_1_reaps_strangers(start: Start) -> None:
    """As process 1 the server waits for everybody's orphans, goes on with its own workers, and is not replaced."""
    prefix = unshare()
    if prefix is None:
        pytest.skip("untestable here: needs unshare, and root")
    server = start("--workers", "2", prefix=prefix)
    assert server.told()[0] == "READY=1"
    outside = next(iter(children(server.process.pid)))
    assert server.ask(b"orphan") == ("done",)
    server.until(lambda: len(children(outside)) == 2, "the orphan to be gone for good")
    assert not [pid for pid in children(outside) if state(pid) == "Z"]
    _, parent, worker = server.ask()
    assert parent == "1"
    assert worker != "1"
    os.kill(outside, signal.SIGUSR2)
    server.until(lambda: "this is process 1" in server.log.read_text(), "the refusal")
    for pid in children(outside):
        os.kill(pid, signal.SIGKILL)
    server.until(lambda: len(children(outside)) == 2 and not any(state(p) == "Z" for p in children(outside)), "workers")
    assert server.ask()[0] == "one"
    os.kill(outside, signal.SIGTERM)
    assert server.process.wait(30) == 0


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


# ------------------------------------------------------------------------------------------------- stop


def test_signals_to_the_whole_group_lose_nobody(start: Start) -> None:
    """A shell's ``kill %1`` and a terminal that goes reach the workers as well: the parent says what it means."""
    server = start("--workers", "2")
    server.told()
    with socket.create_connection(server.address, timeout=30) as client:
        client.sendall(b"wait")
        assert client.recv(100) == b"here"
        for number in (signal.SIGHUP, signal.SIGUSR1):
            os.killpg(server.process.pid, number)
        server.until(lambda: "generation 2 serves" in server.log.read_text(), "the reload")
        os.killpg(server.process.pid, signal.SIGTERM)
        server.until(lambda: "stopping" in server.log.read_text(), "the stop to begin")
        client.sendall(b"on with it")
        assert client.recv(100) == b"done"
    assert server.process.wait(30) == 0
    assert "was ended by signal" not in server.log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a listener cannot be shut down for all who hold it")
def test_who_comes_after_the_stop_is_refused(start: Start) -> None:
    """The one worker is busy, and reads nothing: it has the listener still, which nobody will ever accept from."""
    server = start("--workers", "1", "--stop-deadline", "0.5")
    server.told()
    with socket.create_connection(server.address, timeout=30) as client:
        client.sendall(b"wait")
        assert client.recv(100) == b"here"
        server.process.send_signal(signal.SIGTERM)

        def refused() -> bool:
            try:
                socket.create_connection(server.address, timeout=30).close()
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:
                pass  # it came in the last gap
            return False

        server.until(refused, "the listener to be closed")
        client.sendall(b"on with it")
        assert client.recv(100) == b"done"
    assert server.process.wait(30) == 0
