"""What both references write to a channel: at once, whole, or not at all (BC-CHAN-03, BC-CHAN-07, BC-KILL-02)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from backchannel import FRAME_SIZE, Accept, Parent, Scaling, Settings, encode
from backchannel_server.channels import Channels
from plain_loop import PlainLoop

pytestmark = pytest.mark.timeout(30)

ORDER = encode(Accept(2, 0, 1))


class Ends:
    """The channels of one worker, whose end of the channel the test has. The process reads nothing."""

    def __init__(self) -> None:
        self.core = Parent(Settings(), Scaling.fixed(1))
        self.core.start(0.0)
        self.failed: list[int] = []
        self.core.send_failed = lambda slot, _now: self.failed.append(slot)  # type: ignore[method-assign]
        self.channels = Channels(self.core, PlainLoop(), self._start)
        self.channels.spawn(0)

    def _start(self, _slot: int, _ours: socket.socket, theirs: socket.socket) -> int:
        self.theirs = theirs.dup()
        self.theirs.setblocking(False)
        return os.posix_spawnp("sleep", ["sleep", "60"], os.environ)

    def waiting(self) -> bytes:
        """All that has been written."""
        found = b""
        while True:
            try:
                found += self.theirs.recv(1 << 16)
            except BlockingIOError:
                return found


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.channels.close()
    made.theirs.close()


def test_full_channel_is_a_broken_worker_and_no_wait(ends: Ends) -> None:
    """Orders that nobody reads: the one that does not fit is said to have failed. Were the end to block, nothing would
    be said.
    """
    sent = 0
    while not ends.failed:
        ends.channels.send(0, ORDER)
        sent += 1
    assert ends.failed == [0]
    assert sent > 100


def test_nothing_waits_in_memory(ends: Ends) -> None:
    """What did not fit is gone: when there is room again, nothing of it comes after what did."""
    sent = 0
    while not ends.failed:
        ends.channels.send(0, ORDER)
        sent += 1
    assert (sent - 1) * FRAME_SIZE <= len(ends.waiting()) < sent * FRAME_SIZE
    ends.channels.send(0, ORDER)
    assert ends.waiting() == ORDER
