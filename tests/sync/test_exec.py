"""The exec binding, both ends: what a started program finds, and what it does when something is missing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from backchannel import ExecStart, SettingError, read_variables
from backchannel.exec_binding import variables
from backchannel_server.exec_binding import Launcher
from backchannel_sync import StartError, serve
from test_server import HANDLERS, Server

REPORT = """
import json, os, signal, sys
fds = {}
for fd in range(3, 200):
    try:
        fds[fd] = os.fstat(fd).st_ino
    except OSError:
        pass
text = json.dumps({
    "fds": fds,
    "env": {k: v for k, v in os.environ.items() if k.startswith("BACKCHANNEL_")},
    "blocked": [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
    "command": sys.argv[1:],
})
os.write(3, text.encode())
"""


def test_variables_are_read_as_written() -> None:
    start = ExecStart(3, 8, 2, 0.25)
    assert variables(start)["BACKCHANNEL_DRAIN_DEADLINE"] == "0.25"
    assert variables(ExecStart(0, 1, 1, 30.0))["BACKCHANNEL_DRAIN_DEADLINE"] == "30"
    assert read_variables(variables(start)) == start


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLOT", None),
        ("SLOT", "-1"),
        ("CAPACITY", "0"),
        ("CAPACITY", "many"),
        ("LISTENERS", "0"),
        ("LISTENERS", ""),
        ("DRAIN_DEADLINE", "soon"),
        ("DRAIN_DEADLINE", "nan"),
        ("VERSIONS", "1"),
        ("VERSIONS", "1.0-"),
        ("VERSIONS", "1.1-1.0"),
        ("VERSIONS", "0.9"),
        ("VERSIONS", "1.16"),
        ("VERSIONS", None),
    ],
)
def test_senseless_variable_is_named(name: str, value: str | None, tmp_path: Path) -> None:
    found = variables(ExecStart(0, 1, 1, 30.0))
    del found[f"BACKCHANNEL_{name}"]
    if value is not None:
        found[f"BACKCHANNEL_{name}"] = value
    with pytest.raises(SettingError, match=f"BACKCHANNEL_{name}"):
        read_variables(found)


def test_worker_without_a_parent_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "backchannel_sync.worker", "some:thing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        "backchannel_sync.worker: BACKCHANNEL_SLOT is missing: a worker is started by its parent, which sets it"
    ]


def test_worker_without_a_channel_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "backchannel_sync.worker", "some:thing"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables(ExecStart(0, 1, 1, 30.0))},
    )
    assert done.returncode == 78
    assert done.stderr.startswith("backchannel_sync.worker: descriptor 3 is to be the channel: ")
    assert len(done.stderr.splitlines()) == 1


def test_program_finds_its_descriptors_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with the parent's own descriptors where the worker's are to be, and one that it was itself passed."""
    monkeypatch.setenv("BACKCHANNEL_STRAY", "1")
    reader, passed = os.pipe()
    os.set_inheritable(passed, True)
    ours, theirs = socket.socketpair()
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1,))
    try:
        launcher = Launcher([sys.executable, "-c", REPORT, "a b"])
        start = ExecStart(5, 1, 2, 30.0)
        pid = launcher.start(start, theirs, listeners)
        inodes = {str(3 + at): os.fstat(sock.fileno()).st_ino for at, sock in enumerate((theirs, *listeners))}
        theirs.close()
        said = json.loads(ours.recv(1 << 16))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert said == {"fds": inodes, "env": variables(start), "blocked": [], "command": ["a b"]}
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGUSR1,))
        os.close(reader)
        os.close(passed)
        for sock in (ours, *listeners):
            sock.close()


def test_ignored_signals_are_at_their_defaults() -> None:
    # Python itself ignores SIGPIPE, so a shell that has the default dies of it
    ours, theirs = socket.socketpair()
    pid = Launcher(["sh", "-c", "kill -PIPE $$; exit 9"]).start(ExecStart(0, 1, 1, 1.0), theirs, [theirs])
    theirs.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGPIPE
    ours.close()


def worker_command(handler: str, *more: str) -> str:
    return " ".join([sys.executable, "-W", "error", "-m", "backchannel_sync.worker", handler, *more])


@pytest.mark.parametrize(("handler", "capacity"), [("plain", "1"), ("generator", "3")])
def test_pool_of_started_workers(tmp_path: Path, handler: str, capacity: str) -> None:
    command = worker_command(f"handlers_for_tests:{handler}", "--quota", "7")
    server = Server(tmp_path, "--listen", "127.0.0.1:0", "--capacity", capacity, "--workers", "2", "--worker", command)
    for _ in range(20):
        assert server.ask(b"hi").startswith(b"hello")
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


def test_reason_reaches_the_log_and_the_pool_gives_up(tmp_path: Path) -> None:
    (tmp_path / "handlers_for_tests.py").write_text(HANDLERS)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "backchannel_sync",
            "--listen",
            "127.0.0.1:0",
            "--worker",
            worker_command("nothing:here"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 78
    assert "there is no module 'nothing'" in done.stderr
    assert "no worker can start" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--worker", "no-such-program-here x"], "there is no program 'no-such-program-here'"),
        (["--worker", "'"], "No closing quotation; quote it as for a shell"),
        (["--worker", ""], "--worker is empty"),
        ([], "give a handler, MODULE:HANDLER, or --worker COMMAND"),
        (["--worker", "true", "some:handler"], "give a handler, MODULE:HANDLER, or --worker COMMAND"),
        (["--worker", "true", "--quota", "3"], "--quota is for handlers"),
    ],
)
def test_mistakes(arguments: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "backchannel_sync", "--listen", "127.0.0.1:0", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_serve_wants_one_of_both() -> None:
    with pytest.raises(StartError, match="one of them"):
        serve(None)
