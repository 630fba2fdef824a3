"""One worker writes without end, in each way there is: the others are served, and what is due for it comes."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from backchannel import (
    FRAME_SIZE,
    VERSION,
    Busy,
    Features,
    Hello,
    Idle,
    Parent,
    Reason,
    Scaling,
    Settings,
    SlotState,
    encode,
)
from backchannel_server.channels import Channels
from backchannel_server.traditional import Traditional
from plain_loop import PlainLoop
from test_server import Server

WORKER = """
import os, socket, struct, sys
frame = struct.Struct("!BBBBIIII")
channel = socket.socket(fileno=3)
channel.setblocking(True)

def order():
    return frame.unpack(channel.recv(20, socket.MSG_WAITALL))[4]

def status(capacity):
    return frame.pack(16, 73, 0, 0, 0, 0, 0, capacity)

channel.sendall(frame.pack(16, 73, 0, 0, 0x10100000, 0, 0, 5))
channel.sendall(frame.pack(16, 66, 0, 0, order(), 0, 0, 5))
legal = b"".join(status(6 - at % 2) for at in range(200))
if os.environ["BACKCHANNEL_SLOT"] == "0":
    order()
    how = sys.argv[1]
    if how == "violations":
        channel.sendall(b"\\xff" * 20)
    if how == "after its end":
        channel.shutdown(socket.SHUT_WR)
    if how == "reads no more":
        channel.shutdown(socket.SHUT_RD)
    if how == "grandchild" and os.fork():
        os._exit(1)
    piece = {"violations": b"\\xff" * 4000, "half-frames": legal[:30]}.get(how, legal)
    try:
        while True:
            channel.sendall(piece)
            if how == "half-frames":
                channel.sendall(legal[30:40])
                piece = legal[:30]
    except OSError:
        pass
    os._exit(0)
listener = socket.socket(fileno=4)
while True:
    data = channel.recv(20)
    if not data:
        break
    number, most = frame.unpack(data)[4], frame.unpack(data)[6]
    taken = 0
    try:
        connection, _ = listener.accept()
        connection.sendall(b"ok")
        connection.close()
        taken = 1
    except BlockingIOError:
        pass
    channel.sendall(frame.pack(16, 66, 0 if taken == most else 1, 0, number, taken, 0, 5))
"""
"""Slot 0 takes an order and then writes without end, as the first argument says; the others serve."""


@pytest.mark.parametrize("module", ["backchannel_sync", "backchannel_trio"])
@pytest.mark.parametrize("how", ["legal", "violations", "half-frames", "after its end", "reads no more", "grandchild"])
def test_others_are_served(tmp_path: Path, module: str, how: str) -> None:
    """Clients come one after the other: the order that slot 0 owes expires, or ends with it."""
    (tmp_path / "worker.py").write_text(WORKER)
    worker = f"{sys.executable} {tmp_path / 'worker.py'} '{how}'"
    made = type("Flooded", (Server,), {"module": module})
    server = made(
        tmp_path, "--listen", "127.0.0.1:0", "--workers", "2", "--max-per-order", "1", "--capacity", "5",
        "--policy", "lowest", "--silence-deadline", "1", "--worker", worker,
    )  # fmt: skip
    try:
        for _ in range(10):
            assert server.ask(b"") == b"ok"
    finally:
        assert server.stop(signal.SIGINT) != 0
    assert "Traceback" not in server.log.read_text()


# ------------------------------------------------------------------------------------------- what one turn takes


class Flooded:
    """The channels of one worker: its channel is full, and is filled again whenever something was taken from it."""

    def __init__(self, core: Parent, piece: bytes) -> None:
        self.core = core
        self.piece = piece
        self.taken = 0
        core.start(0.0)
        self.channels = Channels(core, PlainLoop(), self._start)
        self.channels.spawn(0)

    def _start(self, _slot: int, ours: socket.socket, theirs: socket.socket) -> int:
        self.inside = theirs.dup()
        self.inside.setblocking(False)
        return os.posix_spawnp("sleep", ["sleep", "60"], os.environ)

    def fill(self) -> None:
        """Write until nothing more goes in."""
        try:
            while True:
                self.inside.send(self.piece)
        except BlockingIOError:
            pass

    def listen(self) -> None:
        """From now on count the octets that are taken, and fill the channel after each reading."""
        received = self.core.received

        def count(slot: int, data: bytes, now: float) -> None:
            self.taken += len(data)
            received(slot, data, now)
            self.fill()

        self.core.received = count  # type: ignore[method-assign]
        self.fill()


HELLO = encode(Idle(5, Hello(VERSION, VERSION, Features.NONE)))
LEGAL = b"".join(encode(Idle(6 - at % 2)) for at in range(100))


@pytest.fixture(
    params=[(Parent, HELLO, LEGAL, FRAME_SIZE), (Traditional, b"I", b"BI" * 500, 1)], ids=["frames", "octets"]
)
def flooded(request: pytest.FixtureRequest) -> Iterator[tuple[Flooded, int]]:
    kind, hello, piece, size = request.param
    made = Flooded(kind(Settings(capacity=5 if size > 1 else 1), Scaling.fixed(1)), piece)
    made.core.received(0, hello, 0.0)
    if size > 1:
        made.core.received(0, encode(Busy(1, 0, Reason.FILLED, 0, 5)), 0.0)
    assert made.core.workers[0].state is SlotState.READY
    made.listen()
    yield made, size * 64
    made.inside.close()
    made.channels.close()


def test_a_turn_takes_no_more_than_its_share(flooded: tuple[Flooded, int]) -> None:
    made, share = flooded
    made.channels.read(0)
    assert made.taken == share


def test_so_does_the_reading_before_a_judgement(flooded: tuple[Flooded, int]) -> None:
    made, share = flooded
    made.channels.read_all(0)
    assert made.taken == share


def test_so_does_the_reading_after_a_death(flooded: tuple[Flooded, int]) -> None:
    """Somebody else holds its end still, and writes: what does not go into the turn is dropped."""
    made, share = flooded
    os.kill(made.channels.pids[0], signal.SIGKILL)
    os.waitid(os.P_PID, made.channels.pids[0], os.WEXITED | os.WNOWAIT)
    assert list(made.channels.reap()) == [-signal.SIGKILL]
    assert made.taken == share
    assert not made.core.workers
    with pytest.raises(BrokenPipeError):
        made.inside.send(b"more")


def test_order_for_one_that_reads_no_more_is_its_end(flooded: tuple[Flooded, int]) -> None:
    """Its channel is ended even though it never stops writing (BC-CHAN-06)."""
    made, share = flooded
    made.inside.shutdown(socket.SHUT_RD)
    made.channels.send(0, bytes(FRAME_SIZE))
    assert made.taken == share
    assert made.core.workers[0].state is SlotState.LOST


def test_flood_of_one_that_drains_does_not_put_off_its_end(flooded: tuple[Flooded, int]) -> None:
    made, share = flooded
    core = made.core
    core.stop(0.0)
    core.dispatch(dict.fromkeys(core.to_count(), 0))
    assert core.workers[0].state is SlotState.DRAINING
    assert core.overdue(29.0) == set()
    assert core.overdue(31.0) == {0}
    made.channels.read_all(0)
    assert made.taken == share
    core.judge(31.0)
    assert core.workers[0].state is SlotState.KILLED
