"""Readers of the status socket that take nothing, or are many: bounded in time and number, and nobody is kept out."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from backchannel_server import status_socket
from backchannel_server.status_socket import READERS, StatusSocket

LARGE = {"x": "y" * 2_000_000}
"""More than any socket takes at once."""


class Served:
    """A status socket in a loop of its own, on a clock that stands still unless it is told to go on."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = str(path)
        self.now = time.monotonic()
        monkeypatch.setattr(status_socket.time, "monotonic", lambda: self.now)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.socket = StatusSocket(self.listener, self.selector, lambda: LARGE)
        self.clients = ExitStack()

    def connect(self) -> socket.socket:
        client = self.clients.enter_context(socket.socket(socket.AF_UNIX))
        client.connect(self.path)
        self.turn()
        return client

    def turn(self) -> None:
        while events := self.selector.select(0):
            for key, mask in events:
                key.data(mask)
            if not any(key.fileobj is self.listener for key, _ in events):
                break
        self.socket.look(self.now)

    def waited_for(self) -> int:
        return len(self.selector.get_map()) - 1

    def gone(self, client: socket.socket) -> bool:
        """Whether nobody holds the other end any more: what was sent is read to its end."""
        client.setblocking(False)
        try:
            while client.recv(1 << 20):
                pass
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    made = Served(tmp_path / "status", monkeypatch)
    yield made
    made.clients.close()
    if made.selector.get_map():
        made.socket.stop()
    made.selector.close()


def test_a_reader_that_takes_nothing_is_let_go(served: Served) -> None:
    client = served.connect()
    assert served.waited_for() == 1
    due = served.socket.next_look()
    assert due == served.now + status_socket.PATIENCE, "the loop has to wake for it"
    served.now = due - 0.001
    served.turn()
    assert served.waited_for() == 1
    served.now = due
    served.turn()
    assert (served.waited_for(), served.socket.next_look()) == (0, None)
    assert served.gone(client)


def test_to_take_a_little_now_and_then_buys_no_time(served: Served) -> None:
    client = served.connect()
    for _ in range(int(status_socket.PATIENCE) - 1):
        served.now += 1
        assert client.recv(100_000)
        served.turn()
        assert served.waited_for() == 1
    served.now += 1
    served.turn()
    assert served.waited_for() == 0


def test_many_readers_that_take_nothing_keep_nobody_out(served: Served) -> None:
    clients = [served.connect() for _ in range(10 * READERS)]
    assert served.waited_for() == READERS
    assert served.gone(clients[0])
    last = served.connect()
    got = b""
    while not got.endswith(b"\n"):
        got += last.recv(1 << 20)
        served.turn()
    assert json.loads(got) == LARGE
    assert served.waited_for() == READERS - 1


def test_a_reader_that_sends_is_a_reader(served: Served) -> None:
    client = served.clients.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(served.path)
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    served.turn()
    got = b""
    while not got.endswith(b"\n"):
        got += client.recv(1 << 20)
        served.turn()
    assert json.loads(got) == LARGE
    assert served.waited_for() == 0


def test_it_is_closed_with_readers_that_wait(served: Served) -> None:
    clients = [served.connect() for _ in range(3)]
    served.socket.stop()
    assert not served.selector.get_map()
    assert all(served.gone(client) for client in clients)
