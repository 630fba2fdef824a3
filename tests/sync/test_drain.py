"""That the drain has begun reaches the handler, in every kind of worker and whatever has begun it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from backchannel_sync import WorkerInfo
from backchannel_sync.blocking import has_ended
from kinds import KINDS, KindServer, answer, say, serving


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_learns_of_the_drain(kind: str, number: signal.Signals, tmp_path: Path) -> None:
    with serving(tmp_path, kind) as server, server.connect() as client:
        assert say(client, "drain") == b"0"
        assert say(client, "until-drain") == b"waiting"
        server.process.send_signal(number)
        assert answer(client) == b"draining"
        assert answer(client) == b""
        if number is signal.SIGTERM:
            assert server.process.wait(30) == 0


@pytest.mark.parametrize("kind", ["plain", "traditional", "generator", "trio", "asyncio"])
def test_a_handler_learns_of_its_parents_death(kind: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind) as server, server.connect() as client:
        assert say(client, "until-drain") == b"waiting"
        server.process.kill()
        assert answer(client) == b"draining"


@pytest.mark.parametrize("kind", ["generator", "trio"])
def test_a_handler_learns_that_the_quota_is_used_up(kind: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind, "--quota", "2") as server, server.connect() as first, server.connect() as second:
        first.sendall(b"until-drain\n")
        second.sendall(b"until-drain\n")
        for client in (first, second):
            assert answer(client) == b"waiting"
            assert answer(client) == b"draining"


@pytest.mark.parametrize("kind", ["plain", "generator", "trio"])
def test_a_handler_learns_of_the_hand_over(kind: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind, "--status", str(tmp_path / "status")) as server, server.connect() as client:
        assert say(client, "until-drain") == b"waiting"
        server.process.send_signal(signal.SIGUSR2)
        assert answer(client) == b"draining"
        assert server.process.wait(30) == 0
        successor = successor_of(server)
        assert successor != server.process.pid
        subprocess.run(["kill", str(successor)], check=True)


def successor_of(server: KindServer) -> int:
    (line,) = server.lines("is ready: handing over")
    return int(line.split("successor ")[1].split()[0])


IDLE = """
def steps(connection):
    while data := (yield from connection.recv(100, until_drain=True)):
        yield from connection.sendall(data)
"""


def test_idle_connections_end_and_what_has_arrived_is_served(tmp_path: Path) -> None:
    with (
        serving(tmp_path, "generator", more=IDLE) as server,
        server.connect() as idle,
        server.connect() as busy,
    ):
        for client in (idle, busy):
            assert say(client, "hi") == b"hi"
        server.process.send_signal(signal.SIGTERM)
        assert answer(idle) == b""
        assert answer(busy) == b""
        assert server.process.wait(30) == 0


def test_a_look_takes_nothing_from_the_channel() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not has_ended(theirs)
        ours.sendall(b"order")
        assert not has_ended(theirs)
        assert theirs.recv(100) == b"order"
        ours.shutdown(socket.SHUT_WR)
        assert has_ended(theirs)


def test_outside_a_worker_there_is_no_drain() -> None:
    code = (
        "from backchannel_sync import WorkerInfo\n"
        "info = WorkerInfo(0, 1)\n"
        "assert not info.draining\n"
        "try: info.wait_draining()\n"
        "except RuntimeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ask draining" in done.stdout
    assert WorkerInfo(1, 2) == WorkerInfo(1, 2)
