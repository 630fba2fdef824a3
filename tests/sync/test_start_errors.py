"""What a person can get wrong: one message that names the thing and the remedy, a documented status, no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from backchannel_server.fork_binding import SAID_AT_MOST, Reasons
from backchannel_sync.cli import main

HANDLERS = """
import time

def plain(connection):
    connection.sendall(b"hello\\n")

def failing(connection):
    raise ZeroDivisionError("in the handler")

def generator(connection):
    yield from connection.sendall(b"hello\\n")

async def coroutine(connection):
    pass

def application(environ, start_response):
    return []

text = "no function"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "handlers_for_tests.py").write_text(HANDLERS)
    return tmp_path


def start(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line until it ends by itself."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "backchannel_sync", "--listen", "127.0.0.1:0", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "nowhere"], "write HOST:PORT"),
        (["--listen", "127.0.0.1:65536"], "a port from 0 to 65535"),
        (["--capacity", "0"], "capacity is 0: it must be at least 1"),
        (["--capacity", "9999999"], "capacity is 9999999: it must be at most 1048576"),
        (["--min", "5", "--max", "3"], "min must not be above max"),
        (["--start", "9", "--max", "3"], "start is 9: it must be between min (1) and max (3)"),
        (["--min-spare", "9"], "min_spare must not be above max_spare"),
        (["--workers", "3", "--max", "4"], "leave out --max, or --workers"),
        (["--workers", "many"], "give a number of at least 1, or 'auto'"),
        (["--order-deadline", "0"], "order_deadline is 0.0: it must be at least 0.001"),
        (["--drain-deadline", "nan"], "drain_deadline is nan"),
        (["--quota", "-1"], "--quota -1: give a number of at least 0"),
        (["--socket-mode", "rw"], "--socket-mode rw: write it in octal"),
        (["--group", "nogroup"], "a group goes with a user"),
        (["--user", "no-such-user"], "there is no such user"),
        (["--user", "root"], "that keeps the rights of root"),
        (["--user", "nobody", "--group", "no-such-group"], "there is no such group"),
        (["--user", "99999999999", "--group", "1"], "the number of a user and of a group is 4294967294 at most"),
        (["--user", "1", "--group", "99999999999"], "the number of a user and of a group is 4294967294 at most"),
        (["--workers", "99999999999999999999"], "max is 99999999999999999999: it must be at most 65536"),
        (["--max", "65537"], "max is 65537: it must be at most 65536"),
        (["--ready-fd", "99999999999"], "no descriptor has such a number"),
        (["--listen", "example..org:80"], "cannot resolve 'example..org': a part of a name has from 1 to 63"),
        (["--listen", f"{'x' * 64}.example.org:80"], "a part of a name has from 1 to 63"),
        (["--listen", "unix:"], "there is no path"),
        (["--listen", "unix:/tmp/" + "x" * 200], "the path is too long"),
    ],
)
def test_impossible_option(arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "module:handler"]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_handler_written_wrong(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--listen", "127.0.0.1:0", "handler"]) == 2
    assert "write MODULE:ATTRIBUTE" in capfd.readouterr().err


def test_occupied_port(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--listen", f"127.0.0.1:{port}", "module:handler"]) == os.EX_OSERR
    assert f"--listen 127.0.0.1:{port}: the address is in use" in capfd.readouterr().err


def test_status_path_that_exists(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "status").touch()
    assert main(["--listen", "127.0.0.1:0", "--status", str(tmp_path / "status"), "module:handler"]) == os.EX_OSERR
    assert "a file that is not a socket is there; remove it" in capfd.readouterr().err
    assert (tmp_path / "status").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no_such_module:handler"], "there is no module 'no_such_module'"),
        (["handlers_for_tests:missing"], "handlers_for_tests.py) has no 'missing'"),
        (["handlers_for_tests:text"], "is not a function"),
        (["handlers_for_tests:coroutine"], "'coroutine' is an async function: python -m backchannel_trio serves those"),
        (["handlers_for_tests:application"], "'application' cannot be called with one connection"),
        (["--capacity", "4", "handlers_for_tests:plain"], "use --capacity 1, or a generator function"),
    ],
)
def test_worker_that_cannot_start(folder: Path, arguments: list[str], said: str) -> None:
    done = start(folder, "--listen", "127.0.0.1:0", "--start", "4", *arguments)
    assert done.returncode == 78
    assert said in done.stderr
    assert done.stderr.count("no worker can start") == 1
    assert "Traceback" not in done.stderr


def test_module_that_fails_shows_its_author_where(folder: Path) -> None:
    (folder / "broken_for_tests.py").write_text("def f():\n    pass\n\nimport no_such_thing\n")
    done = start(folder, "--listen", "127.0.0.1:0", "broken_for_tests:f")
    assert done.returncode == 78
    assert "broken_for_tests.py" in done.stderr
    assert "line 4" in done.stderr
    assert "No module named 'no_such_thing'" in done.stderr


def test_ready_descriptor_that_is_not_open(folder: Path) -> None:
    done = start(folder, "--listen", "127.0.0.1:0", "--ready-fd", "77", "handlers_for_tests:plain")
    assert done.returncode == 2
    assert "--ready-fd 77" in done.stderr


def test_reason_is_said_once_for_each_generation() -> None:
    """Several workers of one generation find the same out, one after another."""
    reasons = Reasons()
    said = []
    for generation in (0, 0, 1):
        reasons.generation = generation
        reasons.give("no module named spam")
        said.append(reasons.take())
    reasons.close()
    assert said == [["no module named spam"], [], ["no module named spam"]]


def test_reasons_that_all_differ_fill_no_memory() -> None:
    reasons = Reasons()
    for number in range(1000):
        reasons.give(f"attempt {number}")
        assert reasons.take() == [f"attempt {number}"]
    reasons.close()
    assert len(reasons._said) <= SAID_AT_MOST + 1


@pytest.mark.parametrize("limit", [6, 8, 10])
def test_hardly_a_descriptor(folder: Path, limit: int) -> None:
    """What the system refuses at the start is said in one line."""
    arguments = ["--listen", "127.0.0.1:0", "--status", "status", "handlers_for_tests:plain"]
    done = subprocess.run(
        ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", sys.executable, "-m", "backchannel_sync", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == os.EX_OSERR
    assert "the system refuses what a server needs: Too many open files" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "status").exists()
