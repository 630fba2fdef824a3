"""The end of a worker: exit functions run, threads are waited for, daemons are ended, and none of it takes for ever."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kinds import KINDS, say, serving
from programs import is_there

FAREWELL = """
import atexit, threading, weakref

class Thing:
    pass

def note(what):
    with open("farewell", "a") as file:
        file.write(f"{what} {os.getpid()}\\n")

THING = Thing()
weakref.finalize(THING, note, "finalizer")
atexit.register(note, "function")

def late():
    time.sleep(0.2)
    note("thread")

threading.Thread(target=late).start()
atexit.register(sys.stdout.write, "last words\\n")
"""


def farewells(folder: Path) -> list[str]:
    return sorted((folder / "farewell").read_text().split("\n")[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_worker_has_registered_is_done_at_its_end(kind: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind, more=FAREWELL) as server:
        with server.connect() as client:
            pid = int(say(client, "hi"))
        with server.connect() as client:
            daemon = int(say(client, "daemon"))
        assert server.process.stdout
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert farewells(tmp_path) == [f"{what} {pid}" for what in ("finalizer", "function", "thread")]
        assert b"last words" in server.process.stdout.read()
        assert not is_there(daemon)


@pytest.mark.parametrize("kind", ["plain", "trio"])
def test_it_is_done_when_a_worker_retires(kind: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind, "--quota", "1", more=FAREWELL) as server:
        with server.connect() as client:
            first = int(say(client, "hi"))
        with server.connect() as client:
            second = int(say(client, "hi"))
        assert first != second
        assert server.stop() == 0
        assert {f"function {first}", f"function {second}"} <= set(farewells(tmp_path))


PROGRAM = """
import atexit, multiprocessing, os, tempfile, time, weakref
from backchannel_sync import serve
from backchannel import Scaling

def note(what):
    with open("farewell", "a") as file:
        file.write(f"{what} {os.getpid()}\\n")

class Thing:
    pass

THING = Thing()

def handle(connection):
    connection.sendall(b"%d\\n" % os.getpid())

def main():
    daemon = multiprocessing.Process(target=time.sleep, args=(60,), daemon=True)
    daemon.start()
    weakref.finalize(THING, note, "finalizer")
    atexit.register(note, "function")
    serve(handle, "127.0.0.1:0", scaling=Scaling.fixed(2), ready_fd=1)
    note("alive" if daemon.is_alive() else "dead")

if __name__ == "__main__":
    main()
"""


def test_what_the_parent_has_registered_is_the_parents(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    process = subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE)
    with process:
        assert process.stdout
        host, port = process.stdout.readline().decode().split()[1].split(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            assert int(client.recv(100)) != process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert farewells(tmp_path) == [f"{what} {process.pid}" for what in ("alive", "finalizer", "function")]


FAILS = """
import atexit

@atexit.register
def first():
    os.close(os.open("farewell", os.O_CREAT))

@atexit.register
def fails():
    raise SystemExit("no")
"""


@pytest.mark.parametrize("kind", ["plain", "trio"])
def test_an_exit_function_that_fails_does_not_keep_the_others_from_running(kind: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind, more=FAILS) as server:
        assert server.stop() == 0
        assert (tmp_path / "farewell").exists()


HANGS = """
import atexit

WATCHED = socket.create_connection(("127.0.0.1", int(open("watcher").read())))

@atexit.register
def hangs():
    time.sleep(1000)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_hangs_is_ended_even_when_the_parent_has_gone(kind: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as watcher:
        watcher.settimeout(30)
        (tmp_path / "watcher").write_text(str(watcher.getsockname()[1]))
        with serving(tmp_path, kind, "--drain-deadline", "1", more=HANGS) as server:
            alive, _ = watcher.accept()
            with alive:
                alive.settimeout(30)
                server.process.kill()
                server.process.wait()
                if kind == "traditional":  # it finds out when it has served one more
                    with server.connect() as client:
                        assert say(client, "hi")
                assert alive.recv(1) == b""
        server.until_logged("in hangs", 1)


LATE = """
import atexit, time
from backchannel_server.leaving import end_within

class Hangs:
    def __del__(self):
        time.sleep(1000)

@atexit.register
def hangs():
    time.sleep(PAUSE)

HANGS = Hangs()
"""


@pytest.mark.parametrize(
    ("calls", "pause", "status"),
    [
        ("end_within(0.2, 0)", 1000, 0),
        ("end_within(0.2, 76)", 1000, 76),
        ("end_within(1000, 0); end_within(0.2, 76)", 1000, 76),
        ("end_within(0.1, 76); end_within(3, 0)", 0.3, 1),  # it hangs after its exit functions
    ],
)
def test_the_status_does_not_show_that_the_end_was_late(calls: str, pause: float, status: int) -> None:
    program = LATE.replace("PAUSE", str(pause)) + calls
    done = subprocess.run([sys.executable, "-c", program], timeout=60, stderr=subprocess.PIPE, check=False)
    assert done.returncode == status
    assert b"in __del__" in done.stderr if status == 1 else b"in hangs" in done.stderr


@pytest.mark.parametrize("kind", ["plain", "generator"])
def test_one_that_hangs_is_ended_by_the_parent(kind: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as watcher:
        (tmp_path / "watcher").write_text(str(watcher.getsockname()[1]))
        with serving(tmp_path, kind, "--drain-deadline", "0.5", more=HANGS) as server:
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < 20


@pytest.mark.parametrize("what", ["daemon", "pool"])
@pytest.mark.parametrize("kind", ["plain", "trio"])
def test_what_multiprocessing_keeps_for_a_worker_ends_with_it(kind: str, what: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind) as server:
        with server.connect() as client:
            process = int(say(client, what))
        assert is_there(process)
        assert server.stop() == 0
        assert not is_there(process)


PRELOADED = """
import atexit

@atexit.register
def farewell():
    with open("farewell", "a") as file:
        file.write(f"function {os.getpid()}\\n")
"""


def test_what_a_preloaded_module_registers_is_done_once_by_the_parent(tmp_path: Path) -> None:
    with serving(tmp_path, "plain", "--preload", more=PRELOADED) as server:
        with server.connect() as client:
            assert int(say(client, "hi")) != server.process.pid
        assert server.stop() == 0
        assert farewells(tmp_path) == [f"function {server.process.pid}"]
