"""No errno of the channel ends a worker: there is no room for a moment, or nobody at the other end."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Iterator

import pytest
from backchannel import FRAME_SIZE, WorkerSide
from backchannel_server.signals import WakeUp
from backchannel_server.worker_channel import read, write_outgoing
from backchannel_sync import blocking

FOR_A_MOMENT = [errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM]
FOR_GOOD = [errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EIO, errno.EBADF]


class Channel:
    """A channel of which the system says ``number`` once, and which works afterwards."""

    def __init__(self, number: int) -> None:
        self.error: OSError | None = OSError(number, os.strerror(number))
        self.sent = b""

    def _fail(self) -> None:
        error, self.error = self.error, None
        if error:
            raise error

    def send(self, data: bytes) -> int:
        self._fail()
        self.sent += data[:7]
        return len(data[:7])

    def recv(self, _count: int) -> bytes:
        self._fail()
        return b"octets"


@pytest.fixture
def side() -> WorkerSide:
    made = WorkerSide(1)
    made.hello()
    return made


@pytest.mark.parametrize("number", FOR_A_MOMENT)
def test_no_room_for_a_moment(side: WorkerSide, number: int) -> None:
    channel = Channel(number)
    assert not write_outgoing(side, channel)  # type: ignore[arg-type]
    assert write_outgoing(side, channel)  # type: ignore[arg-type]
    assert len(channel.sent) == FRAME_SIZE, "the hello is written, in pieces even"
    channel = Channel(number)
    assert read(channel) is None  # type: ignore[arg-type]
    assert read(channel) == b"octets"  # type: ignore[arg-type]


@pytest.mark.parametrize("number", FOR_GOOD)
def test_nobody_is_there(side: WorkerSide, number: int) -> None:
    channel = Channel(number)
    assert write_outgoing(side, channel)  # type: ignore[arg-type]
    assert not side.outgoing(), "nothing is written any more (BC-CHAN-06)"
    assert channel.sent == b""
    assert read(Channel(number)) == b""  # type: ignore[arg-type]


@pytest.mark.parametrize("number", FOR_A_MOMENT)
def test_a_blocking_worker_tries_again(side: WorkerSide, number: int) -> None:
    channel = Channel(number)
    blocking._flush(side, channel)  # type: ignore[arg-type]
    assert len(channel.sent) == FRAME_SIZE


@pytest.fixture
def wake_up() -> Iterator[WakeUp]:
    made = WakeUp()
    yield made
    made.close()


def test_the_last_of_thousands_of_signals_is_heard(wake_up: WakeUp) -> None:
    """They all come in one turn, as to a parent that the system has kept from running."""
    with wake_up.catching((signal.SIGUSR1, signal.SIGTERM)):
        for _ in range(5000):
            signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGTERM)
        heard = b""
        while came := wake_up.take():
            heard += came
    assert heard.count(signal.SIGUSR1) == 5000
    assert heard.endswith(bytes([signal.SIGTERM]))


def test_a_channel_that_has_ended() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        assert read(ours) == b""
