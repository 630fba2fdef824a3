"""New code by one command: it waits, and says how it ended."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_server import Server

CODE = """
def handle(connection):
    connection.recv(100)
    connection.sendall(b"VERSION")
"""


def reload(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "backchannel_tools.reload", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "code_of_test.py").write_text(CODE)
    options = ["--listen", "127.0.0.1:0", "--status", str(tmp_path / "status"), "--workers", "3"]
    made = Server(tmp_path, *options, "code_of_test:handle")
    yield made
    if made.process.poll() is None:
        made.stop(signal.SIGINT)


def test_returns_when_the_new_generation_serves(server: Server, tmp_path: Path) -> None:
    (tmp_path / "code_of_test.py").write_text(CODE.replace("VERSION", "the second version"))
    done = reload(tmp_path / "status")
    assert (done.returncode, done.stdout, done.stderr) == (0, "generation 2 serves\n", "")
    assert server.ask(b"?") == b"the second version"


def test_a_generation_that_cannot_start(server: Server, tmp_path: Path) -> None:
    (tmp_path / "code_of_test.py").write_text("raise OSError('no database')")
    done = reload(tmp_path / "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("reload: generation 2 cannot start, the old one goes on serving")
    assert server.ask(b"?") == b"VERSION"
    lines = [line for line in server.log.read_text().splitlines() if "fix it" in line]
    assert len(lines) == 1
    assert "(fix it and send SIGHUP again): the handler cannot be loaded | File " in lines[0]
    assert lines[0].endswith("OSError: no database")


def test_no_pool_there(tmp_path: Path) -> None:
    done = reload(tmp_path / "nothing")
    assert done.returncode == 1
    assert done.stderr.startswith(f"reload: {tmp_path / 'nothing'}: there is no such socket")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "does not tell its generation"),
        ({"generation": 3, "state": "draining"}, "the pool is draining, and does not reload"),
    ],
)
def test_a_pool_that_cannot_be_reloaded(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    document = {"pid": 2**22 + 1, "state": "running", "listeners": [], "counters": {}, "workers": [], **changes}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "status"))
        listener.listen()

        def answer() -> None:
            with listener.accept()[0] as connection:
                connection.sendall(json.dumps(document).encode())

        thread = threading.Thread(target=answer)
        thread.start()
        done = reload(tmp_path / "status")
        thread.join(30)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
