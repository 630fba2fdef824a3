"""What differs between systems and is no poller: flags, errors and ends of connections, and the size of channels.

Each fact stands in for itself as it was measured where it is worst, so it is tested on any system; beside it the same
code runs on what is real here.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from backchannel import FRAME_SIZE, Accept, Idle, Reason, WorkerSide, decode, encode
from backchannel_server.accepting import attempt
from backchannel_server.channels import Channels
from backchannel_sync import blocking, events
from plain_loop import PlainLoop
from real_listener import listening


@pytest.fixture
def real() -> Iterator[tuple[socket.socket, Callable[[], socket.socket]]]:
    """A listener, and what connects to it."""
    with listening() as made:
        yield made


# ------------------------------------------------------------------------- accepted connections


class Listener:
    """A listener of such a system: what it accepts has its O_NONBLOCK, which Python does not know of. First it lets
    ``aborted`` clients go that were reset while they waited.
    """

    def __init__(self, connections: Sequence[socket.socket], aborted: int = 0) -> None:
        self.connections = list(connections)
        self.aborted = aborted

    def accept(self) -> tuple[socket.socket, None]:
        if self.aborted:
            self.aborted -= 1
            raise OSError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))
        if not self.connections:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        connection = self.connections.pop(0)
        os.set_blocking(connection.fileno(), False)
        assert connection.gettimeout() is None
        return connection, None

    def close(self) -> None:
        """Nothing to close."""


def test_a_client_that_was_reset_is_no_empty_queue() -> None:
    with socket.socket() as connection:
        waiting: Any = [Listener([connection], aborted=1)]
        assert attempt(waiting, Accept(1, 0, 1)) == ([], Reason.PEER)
        assert attempt(waiting, Accept(2, 0, 1)) == ([(connection, None)], Reason.FILLED)
        assert attempt(waiting, Accept(3, 0, 1)) == ([], Reason.EMPTY)


def test_a_real_client_that_was_reset_is_answered_for(real: Any) -> None:
    made, arrive = real
    client = arrive()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    taken, reason = attempt([made], Accept(1, 0, 1))
    assert (len(taken), reason) in [(1, Reason.FILLED), (0, Reason.PEER), (0, Reason.EMPTY)]
    for connection, _address in taken:
        connection.close()


@pytest.mark.parametrize("here", [True, False], ids=["as it is here", "inherited"])
def test_a_blocking_worker_makes_its_connections_block(real: Any, here: bool) -> None:
    made, arrive = real
    arrive()
    ours, theirs = socket.socketpair()
    seen: list[bool] = []
    inherited: Any = made if here else Listener([made.accept()[0]])
    with ours, theirs:
        ours.sendall(encode(Accept(1, 0, 1)))
        ours.shutdown(socket.SHUT_WR)
        blocking.run(theirs, [inherited], lambda connection: seen.append(os.get_blocking(connection.fileno())))
    assert seen == [True]


@pytest.mark.parametrize("here", [True, False], ids=["as it is here", "inherited"])
def test_an_event_worker_makes_its_connections_not_block(real: Any, here: bool) -> None:
    made, arrive = real
    arrive()
    ours, theirs = socket.socketpair()
    seen: list[tuple[bool, float | None]] = []
    inherited: Any = made if here else Listener([made.accept()[0]])

    def handler(connection: events.Connection) -> events.Waiting:
        seen.append((os.get_blocking(connection.socket.fileno()), connection.socket.gettimeout()))
        yield from ()

    with ours, theirs:
        ours.sendall(encode(Accept(1, 0, 1)))
        ours.shutdown(socket.SHUT_WR)
        events.run(theirs, [inherited], handler, capacity=2, drain_deadline=1.0)
    assert seen == [(False, 0.0)], "Python must know it too: its time-outs go by what it knows"


# --------------------------------------------------------------------------------------- channels


class Said:
    """Stands in for the parent's core: what it was told, in order."""

    octets_per_turn = 2 * FRAME_SIZE

    def __init__(self) -> None:
        self.words: list[str] = []

    def received(self, _slot: int, data: bytes, _now: float) -> None:
        self.words.append(f"{len(data) // FRAME_SIZE} frames")

    def eof(self, _slot: int, _now: float) -> None:
        self.words.append("end")


def test_an_end_that_comes_with_data_is_believed_when_it_is_read() -> None:
    """EV_EOF is set while reports are still there: they count, whichever turn reads them."""
    said: Any = Said()
    inside: list[socket.socket] = []

    def start(_slot: int, _ours: socket.socket, theirs: socket.socket) -> int:
        inside.append(theirs.dup())
        return os.getpid()

    loop = PlainLoop()
    channels = Channels(said, loop, start)
    channels.spawn(0)
    with inside[0] as worker:
        worker.sendall(encode(Idle(1)) * 5)
    # readable and ended at once, from the first turn on
    while watched := loop.watched():
        assert watched == 1
        loop.turn(5)
    loop.close()
    assert said.words == ["2 frames", "2 frames", "1 frames", "end"]


ROOM = 4096


class Narrow:
    """A channel of such a system: it holds 4,096 octets, which are 204 frames and four fifths of one more."""

    def __init__(self) -> None:
        self.inside = b""

    def send(self, data: bytes) -> int:
        free = ROOM - len(self.inside)
        if not free:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.inside += data[:free]
        return min(free, len(data))


def test_a_status_that_fits_in_part_is_finished_before_the_newest() -> None:
    channel = Narrow()
    worker: Any = types.SimpleNamespace(side=WorkerSide(8), channel=channel, watch_channel=lambda _events: None)
    worker.side.hello()
    (welcome,) = worker.side.receive(encode(Accept(1, 0, 0)))
    worker.side.answer(welcome, 0, Reason.FILLED)
    events._Worker.flush(worker)
    channel.inside = bytes(ROOM // FRAME_SIZE * FRAME_SIZE)
    for capacity in (7, 6, 5):
        worker.side.set_capacity(capacity)
        events._Worker.flush(worker)
    assert len(channel.inside) == ROOM
    begun, channel.inside = channel.inside[-(ROOM % FRAME_SIZE) :], b""
    events._Worker.flush(worker)
    octets = begun + channel.inside
    assert [decode(octets[at : at + FRAME_SIZE]) for at in range(0, len(octets), FRAME_SIZE)] == [Idle(7), Idle(5)]


def test_a_real_channel_holds_what_the_smallest_known_one_does() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        for number in range(ROOM // FRAME_SIZE):
            assert ours.send(encode(Accept(number + 1, 0, 1))) == FRAME_SIZE


def test_an_order_that_fits_in_part_is_not_sent_again() -> None:
    """The parent never follows part of a frame with anything: it gives the worker up (BC-KILL-02)."""
    failed: list[int] = []
    core: Any = types.SimpleNamespace(send_failed=lambda slot, _now: failed.append(slot))
    channels = Channels(core, PlainLoop(), lambda *_: 0)
    channel: Any = Narrow()
    channels._channels[0] = channel
    for number in range(ROOM // FRAME_SIZE):
        channels.send(0, encode(Accept(number + 1, 0, 1)))
    assert not failed, "204 frames fit"
    channels.send(0, encode(Accept(205, 0, 1)))
    assert failed == [0]
    assert len(channel.inside) == ROOM
