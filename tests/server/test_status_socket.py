"""Readers of the status socket that take nothing, or are many: bounded in time and number, and nobody is kept out."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from backchannel_server import status_socket
from backchannel_server.status_socket import COOL_DOWN, READERS, StatusSocket
from plain_loop import PlainLoop

LARGE = {"x": "y" * 2_000_000}
"""More than any socket takes at once."""


class Served:
    """A status socket in a loop of its own, on a clock that stands still unless it is told to go on."""

    def __init__(self, path: Path, document: dict[str, str]) -> None:
        self.path = str(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.listener.setblocking(False)
        self.loop = PlainLoop()
        self.socket = StatusSocket(self.listener, self.loop, lambda: document)
        self.clients = ExitStack()

    def connect(self) -> socket.socket:
        client = self.clients.enter_context(socket.socket(socket.AF_UNIX))
        client.connect(self.path)
        self.turn()
        return client

    def turn(self) -> None:
        while self.listener in self.loop.turn():
            pass
        self.socket.look(self.loop.now)

    def waited_for(self) -> int:
        return self.loop.watched() - 1

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
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "status", LARGE)
    yield made
    made.clients.close()
    if made.loop.watched():
        made.socket.stop()
    made.loop.close()


def test_a_reader_that_takes_nothing_is_let_go(served: Served) -> None:
    client = served.connect()
    assert served.waited_for() == 1
    due = served.socket.next_look()
    assert due == served.loop.now + status_socket.TIMEOUT, "the loop has to wake for it"
    served.loop.now = due - 0.001
    served.turn()
    assert served.waited_for() == 1
    served.loop.now = due
    served.turn()
    assert (served.waited_for(), served.socket.next_look()) == (0, None)
    assert served.gone(client)


def test_to_take_a_little_now_and_then_buys_no_time(served: Served) -> None:
    client = served.connect()
    for _ in range(int(status_socket.TIMEOUT) - 1):
        served.loop.now += 1
        assert client.recv(100_000)
        served.turn()
        assert served.waited_for() == 1
    served.loop.now += 1
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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EINVAL, errno.EMFILE, errno.ECONNABORTED])
def test_an_accept_that_fails(served: Served, number: int) -> None:
    """Whoever waits is served when it works again, and nobody looks for them all the time until then."""

    class Refusing(socket.socket):
        refusals = 1

        def accept(self) -> tuple[socket.socket, object]:
            if self.refusals:
                self.refusals -= 1
                raise OSError(number, os.strerror(number))
            return super().accept()

    served.loop.unwatch(served.listener)
    served.listener = Refusing(fileno=served.listener.detach())
    served.listener.setblocking(False)
    served.socket = StatusSocket(served.listener, served.loop, lambda: {"served": "yes"})
    client = served.clients.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(served.path)
    served.loop.turn()
    if number != errno.ECONNABORTED:
        assert served.loop.watched() == 0
        served.socket._greet()  # called back late
        assert served.socket.next_look() == served.loop.now + COOL_DOWN
        served.loop.now += COOL_DOWN
        served.turn()  # it is watched again at the end of this one
    served.turn()
    assert client.recv(100) == b'{"served": "yes"}\n'
    assert served.waited_for() == 0


def test_it_is_closed_with_readers_that_wait(served: Served) -> None:
    clients = [served.connect() for _ in range(3)]
    served.socket.stop()
    assert not served.loop.watched()
    served.socket._greet()  # called back late
    assert all(served.gone(client) for client in clients)
