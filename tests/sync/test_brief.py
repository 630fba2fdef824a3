"""A handler that declares itself brief is served with before the answer: one frame tells of all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from backchannel import FRAME_SIZE, Accept, Busy, Frame, Idle, Reason, decode, decode_hello, encode
from backchannel_sync import Connection, Waiting, blocking, brief, events


def plain(connection: socket.socket) -> None:
    connection.sendall(b"done\n")


def steps(connection: Connection) -> Waiting:
    yield from connection.sendall(b"done\n")


def reading(connection: Connection) -> Waiting:
    line = yield from connection.recv(16)
    yield from connection.sendall(line)


class Bench:
    """One worker in a thread, its parent's end of the channel, and its listener."""

    def __init__(self, handler: Any, capacity: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(20)
        self.orders = 0
        if capacity == 1:
            target, options = blocking.run, {}
        else:
            target, options = events.run, {"capacity": capacity, "drain_deadline": 5.0}  # type: ignore[assignment]
        self.thread = threading.Thread(target=target, args=(self.theirs, [self.listener], handler), kwargs=options)
        self.thread.start()
        decode_hello(self.ours.recv(FRAME_SIZE, socket.MSG_WAITALL))
        self.order(0)
        assert self.report() == Busy(1, 0, Reason.FILLED, 0, capacity)

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.listener.getsockname())
        client.settimeout(20)
        return client

    def order(self, most: int) -> None:
        self.orders += 1
        self.ours.sendall(encode(Accept(self.orders, 0, most)))

    def report(self) -> Frame:
        return decode(self.ours.recv(FRAME_SIZE, socket.MSG_WAITALL))

    def close(self) -> None:
        self.ours.close()
        self.thread.join(20)
        self.theirs.close()
        self.listener.close()


@pytest.fixture
def benches() -> Iterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    for bench in made:
        bench.close()


@pytest.mark.parametrize(("handler", "capacity"), [(brief(lambda connection: plain(connection)), 1), (brief(steps), 4)])
def test_a_brief_handler_is_told_of_in_one_frame(handler: Any, capacity: int, benches: list[Bench]) -> None:
    bench = Bench(handler, capacity)
    benches.append(bench)
    for number in (2, 3):
        with bench.connect() as client:
            bench.order(1)
            assert bench.report() == Busy(number, 1, Reason.FILLED, 0, capacity)
            assert client.recv(16) == b"done\n"  # it was served before the answer
    bench.order(0)  # a barrier: nothing was written in between
    assert bench.report() == Busy(4, 0, Reason.FILLED, 0, capacity)


def test_without_the_declaration_the_answer_comes_first(benches: list[Bench]) -> None:
    bench = Bench(plain, 1)
    benches.append(bench)
    with bench.connect():
        bench.order(1)
        assert bench.report() == Busy(2, 1, Reason.FILLED, 1, 1)
        assert bench.report() == Idle(1)


def test_what_a_brief_event_handler_waits_for_is_not_waited_for_by_the_answer(benches: list[Bench]) -> None:
    bench = Bench(brief(reading), 4)
    benches.append(bench)
    with bench.connect() as client:
        bench.order(1)
        assert bench.report() == Busy(2, 1, Reason.FILLED, 1, 4)
        client.sendall(b"now\n")
        assert client.recv(16) == b"now\n"
        assert bench.report() == Idle(4)
