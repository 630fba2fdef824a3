"""The parent in C starts workers whatever has become of its log, and does not wait for those that start."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import Gate, full_pipe, handler, needs

SOURCE = Path(__file__).parents[2] / "examples" / "c"
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = tmp_path_factory.mktemp("c") / "parent"
    subprocess.run([needs("cc"), "-o", str(made), str(SOURCE / "parent.c")], check=True)
    return str(made)


@pytest.fixture
def start(parent: str, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(code: str, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
        command = shlex.join([sys.executable, "-m", "backchannel_sync.worker", code])
        options = ["--listen", "127.0.0.1:0", "--workers", "1", *arguments]
        started.append(subprocess.Popen([parent, *options, command], cwd=tmp_path, start_new_session=True, **more))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout:
            process.stdout.close()


def test_stop_while_a_worker_starts(start: Start, tmp_path: Path, gate: Gate) -> None:
    handler(tmp_path, "backchannel_sync", 'b""', before=gate.code)
    unhurried = ("--start-deadline", "600", "--drain-deadline", "600", "--stop-deadline", "600")
    process = start("greeter:handle", *unhurried)
    gate.pid()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_log_that_nobody_reads(start: Start, tmp_path: Path, gate: Gate) -> None:
    """A worker exits early, which the log is told; another one takes its place."""
    handler(tmp_path, "backchannel_sync", 'b"%d" % os.getpid()', before=gate.code)
    with full_pipe() as (_, writer):
        process = start("greeter:handle", stderr=writer, stdout=subprocess.PIPE)
        first = gate.pid()
        os.kill(first, signal.SIGKILL)
        gate.open(10)
        assert process.stdout
        host, _, port = process.stdout.readline().decode().split()[1].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(b"?")
            assert int(client.recv(100)) != first
