"""The traditional worker: a signal that ends it loses no connection, wherever it comes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from backchannel_server.listeners import bind
from backchannel_sync.traditional import _Leave, _Worker, run


def test_signal_while_waiting_ends_it() -> None:
    left, right = socket.socketpair()
    with left, right, bind("127.0.0.1:0") as listener:
        worker = _Worker(left, listener)
        free = os.dup(0)
        os.close(free)
        worker.next = free
        with pytest.raises(_Leave):
            worker.asked_to_leave(signal.SIGTERM, None)
        assert worker.leaving


def test_signal_after_accept_lets_the_connection_be_served() -> None:
    """The descriptor that was free is open now: there is a connection, and it is not dropped."""
    left, right = socket.socketpair()
    with left, right, bind("127.0.0.1:0") as listener, socket.create_connection(listener.getsockname()):
        worker = _Worker(left, listener)
        free = os.dup(0)
        os.close(free)
        worker.next = free
        accepted = listener.accept()[0]
        assert accepted.fileno() == free
        worker.asked_to_leave(signal.SIGTERM, None)
        assert worker.leaving
        accepted.close()


def test_signal_between_connections_is_obeyed_before_the_next() -> None:
    before = signal.getsignal(signal.SIGTERM)
    left, right = socket.socketpair()
    try:
        with left, right, bind("127.0.0.1:0") as listener:
            listener.setblocking(True)
            with socket.create_connection(listener.getsockname()), socket.create_connection(listener.getsockname()):
                served = []

                def handler(connection: socket.socket) -> None:
                    served.append(connection)
                    signal.raise_signal(signal.SIGTERM)

                assert run(left, listener, handler) == 0
                assert len(served) == 1
                assert right.recv(10) == b"IBI"
    finally:
        signal.signal(signal.SIGTERM, before)


def test_quota() -> None:
    before = signal.getsignal(signal.SIGTERM)
    left, right = socket.socketpair()
    try:
        with left, right, bind("127.0.0.1:0") as listener, socket.create_connection(listener.getsockname()):
            assert run(left, listener, lambda _connection: None, quota=1) == 0
            assert right.recv(10) == b"IBR"
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--capacity", "2"], "--traditional is for capacity 1"),
        (["--listen", "127.0.0.1:0,127.0.0.1:0"], "on one listener only"),
    ],
)
def test_what_it_cannot_do(tmp_path: Path, arguments: list[str], said: str) -> None:
    command = [
        sys.executable,
        "-m",
        "backchannel_sync",
        "--listen",
        "127.0.0.1:0",
        "--traditional",
        *arguments,
        "module:handler",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
