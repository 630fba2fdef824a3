"""What the system refuses a parent, because of what a worker does or what is around the pool: it goes on."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from backchannel import FRAME_SIZE, Accept, Parent, Scaling, Settings, SlotState, encode
from backchannel_server.channels import Channels
from backchannel_server.fork_binding import WAITED_FOR_BY_ANOTHER, dead_children
from backchannel_server.handover import Handover
from backchannel_server.status_socket import StatusSocket
from backchannel_server.successor import READY, Successor
from plain_loop import PlainLoop
from test_server import Server

NOBODY = 65534

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="a worker becomes another user: needs root and setpriv"
)

WORKER = """
import os, socket, struct
frame = struct.Struct("!BBBBIIII")
channel = socket.socket(fileno=3)
channel.setblocking(True)
listener = socket.socket(fileno=4)
channel.sendall(frame.pack(16, 73, 0, 0, 0x10100000, 0, 0, 5))
while data := channel.recv(20):
    number, most = frame.unpack(data)[4], frame.unpack(data)[6]
    taken = 0
    try:
        if not most:
            raise BlockingIOError
        connection, _ = listener.accept()
        asked = connection.recv(100)
        connection.sendall(b"hello")
        connection.close()
        taken = 1
    except BlockingIOError:
        pass
    if taken and asked == b"leave":
        os.setresuid(65534, 65534, 65534)
        channel.sendall(b"rubbish" * 10)
        while channel.recv(20):
            pass
        break
    channel.sendall(frame.pack(16, 66, 0 if taken == most else 1, 0, number, taken, 0, 5))
"""
"""A client that says "leave" makes it another user, which breaks the rules, and exits when its channel has ended."""

BLOCKING = """
import os

def handler(connection):
    if connection.recv(100) == b"leave":
        os.setresuid(65534, 65534, 65534)
    connection.sendall(b"hello")
"""


class Weak(Server):
    """A server that may be root, but may not signal processes of other users."""

    before = ("setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill")


def until_logged(server: Server, text: str) -> None:
    """Wait until the server's log holds ``text``."""
    deadline = time.monotonic() + 30
    while text not in server.log.read_text():
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.005)


@needs_root
@pytest.mark.parametrize("module", ["backchannel_sync", "backchannel_trio"])
def test_worker_that_has_become_another_user(tmp_path: Path, module: str) -> None:
    """It breaks the rules and cannot be killed: that is said once, and the others serve."""
    (tmp_path / "worker.py").write_text(WORKER)
    made = type("Made", (Weak,), {"module": module})
    server = made(
        tmp_path, "--listen", "127.0.0.1:0", "--workers", "2", "--capacity", "5",
        "--worker", f"{sys.executable} {tmp_path / 'worker.py'}",
    )  # fmt: skip
    try:
        assert server.ask(b"leave") == b"hello"
        until_logged(server, "cannot be sent SIGKILL (Operation not permitted)")
        for _ in range(20):
            assert server.ask(b"hi") == b"hello"
        assert server.stop() == 0
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGINT)
    log = server.log.read_text()
    assert log.count("cannot be sent") == 1
    assert "Traceback" not in log


@needs_root
def test_traditional_worker_that_has_become_another_user(tmp_path: Path) -> None:
    """At a reload it is asked again and again to leave, in vain: that is said once; it leaves after its next client."""
    made = type("Made", (Weak,), {"handlers": BLOCKING})
    server = made(tmp_path, "--listen", "127.0.0.1:0", "--workers", "1", "--traditional", "handlers_for_tests:handler")
    try:
        assert server.ask(b"leave") == b"hello"
        server.process.send_signal(signal.SIGHUP)
        until_logged(server, "cannot be sent SIGTERM (Operation not permitted)")
        for _ in range(20):
            assert server.ask(b"hi") == b"hello"
        assert server.stop(signal.SIGINT) == 130
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGINT)
    log = server.log.read_text()
    assert log.count("cannot be sent SIGTERM") == 1
    assert "Traceback" not in log


OUT_OF_REACH = """
import os, signal, sys
from backchannel import Parent, Scaling, Settings
from backchannel_server.channels import Channels
from backchannel_sync.parent import SelectorLoop
import logging
logging.basicConfig(stream=sys.stdout, format="%(message)s")
closed = [(os.POSIX_SPAWN_CLOSE, 1), (os.POSIX_SPAWN_CLOSE, 2)]
pid = os.posix_spawnp("sleep", ["sleep", "60"], os.environ, file_actions=closed)
os.setresuid(65534, 65534, 65534)
core = Parent(Settings(), Scaling.fixed(1))
core.start(0.0)
channels = Channels(core, SelectorLoop(), lambda slot, ours, theirs: pid, signals=True)
channels.spawn(0)
channels.half_close(0)
channels.resend(0.0)
channels.resend(1.0)
channels.kill(0)
channels.kill(0)
channels.close()
print("closed", pid)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a parent becomes another user than its worker: needs root")
def test_end_does_not_wait_for_one_that_cannot_be_killed() -> None:
    done = subprocess.run([sys.executable, "-c", OUT_OF_REACH], capture_output=True, text=True, timeout=30, check=True)
    said, closed = done.stdout.splitlines()
    os.kill(int(closed.split()[1]), signal.SIGKILL)
    assert "cannot be sent SIGTERM (Operation not permitted)" in said


# ------------------------------------------------------------------------------------------------ by errno


def sleeper(_slot: int, _ours: socket.socket, _theirs: socket.socket) -> int:
    return os.posix_spawnp("sleep", ["sleep", "60"], os.environ)


@pytest.fixture
def loop() -> Iterator[PlainLoop]:
    made = PlainLoop()
    yield made
    made.close()


@pytest.fixture
def core() -> Parent:
    made = Parent(Settings(), Scaling.fixed(1))
    made.start(0.0)
    return made


def test_no_room_to_watch_a_channel_is_a_worker_that_cannot_be_started(core: Parent, loop: PlainLoop) -> None:
    """Nobody is started who could not be heard, and the next one is."""
    loop.refusals = 1
    channels = Channels(core, loop, sleeper)
    channels.spawn(0)
    assert not channels.pids
    assert not core.workers
    assert any("watching its channel failed" in str(action) for action in core.take_actions())
    core.scale(100.0)
    channels.spawn(0)
    assert list(channels.pids) == [0]
    assert loop.watched() == 1
    channels.close()
    assert not loop.watched()


def test_no_process_leaves_nothing_watched(core: Parent, loop: PlainLoop) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    Channels(core, loop, refused).spawn(0)
    assert not loop.watched()
    assert not core.workers


def test_worker_that_somebody_else_has_waited_for(core: Parent, loop: PlainLoop) -> None:
    channels = Channels(core, loop, sleeper)
    channels.spawn(0)
    os.kill(channels.pids[0], signal.SIGKILL)
    os.waitpid(channels.pids[0], 0)
    channels.kill(0)
    assert list(channels.reap()) == [WAITED_FOR_BY_ANOTHER]
    assert not core.workers
    channels.close()


def test_those_that_live_are_not_missed() -> None:
    pid = sleeper(0, None, None)  # type: ignore[arg-type]
    try:
        assert list(dead_children([pid])) == []
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_end_of_one_that_somebody_else_has_waited_for(core: Parent, loop: PlainLoop) -> None:
    channels = Channels(core, loop, sleeper)
    channels.spawn(0)
    pid = channels.pids[0]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    channels.close()
    assert not channels.pids


class Channel:
    """A channel whose every call fails with one errno."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False

    def fail(self, *_: object) -> bytes:
        """Whatever was asked for."""
        raise OSError(self.number, os.strerror(self.number))

    send = recv = shutdown = fail

    def close(self) -> None:
        """It is closed."""
        self.closed = True


class Deaf:
    """A loop that watches nothing."""

    def watch(self, *_: object, **__: object) -> None:
        """Nothing."""

    def unwatch(self, *_: object) -> None:
        """Nothing."""

    def time(self) -> float:
        """It stands still."""
        return 0.0


@pytest.fixture
def channels(core: Parent) -> Iterator[Channels]:
    made = Channels(core, Deaf(), sleeper)
    made.spawn(0)
    real = made._channels[0]
    yield made
    real.close()
    made.close()


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF, errno.EIO])
def test_channel_that_fails_has_ended(channels: Channels, core: Parent, number: int) -> None:
    """What a system says of an end that has gone differs; none of it ends the parent."""
    channels._channels[0].close()
    channels._channels[0] = Channel(number)  # type: ignore[assignment]
    channels.send(0, encode(Accept(1, 0, 0)))
    assert core.workers[0].state is SlotState.LOST
    assert not channels._channels


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOTCONN])
def test_channel_that_cannot_be_read_has_ended(channels: Channels, core: Parent, number: int) -> None:
    channels._channels[0].close()
    channels._channels[0] = Channel(number)  # type: ignore[assignment]
    channels.read(0)
    assert core.workers[0].state is SlotState.LOST


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN])
def test_order_for_which_there_is_no_room_is_not_sent(channels: Channels, core: Parent, number: int) -> None:
    """The worker would miss a number: it is given up, as one that does not read (BC-KILL-02)."""
    channels._channels[0].close()
    channels._channels[0] = Channel(number)  # type: ignore[assignment]
    channels.send(0, bytes(FRAME_SIZE))
    assert core.workers[0].state is SlotState.KILLED


def test_drain_of_one_whose_end_has_gone(channels: Channels) -> None:
    channels._channels[0].close()
    channels._channels[0] = Channel(errno.ENOTCONN)  # type: ignore[assignment]
    channels.half_close(0)
    channels.half_close(7)


@pytest.mark.parametrize("octets", [READY * 5000, b"x" * 5000])
def test_successor_that_never_stops_writing(octets: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It is ready once; what is no word is none."""
    caplog.set_level(logging.INFO, "backchannel")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(octets)
        handover = Handover(*[None] * 5)  # type: ignore[arg-type]
        handover._successor = Successor(1, ours)
        heard = 0
        for _ in range(3):
            handover._successor_speaks()
            heard += handover._yielding
            handover._yielding = False
    assert heard == len(caplog.records) == (1 if octets.startswith(READY) else 0)


def test_no_room_to_watch_the_status_socket_or_its_reader(tmp_path: Path, loop: PlainLoop) -> None:
    """The reader gets what its socket took at once; those that come later are served when there is room again."""
    path = str(tmp_path / "status")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as reader:
        listener.bind(path)
        listener.listen()
        listener.setblocking(False)
        status = StatusSocket(listener, loop, lambda: {"long": "x" * 10_000_000})
        reader.connect(path)
        loop.refusals = 1
        status._greet()
        got = 0
        while part := reader.recv(1 << 20):
            got += len(part)
        assert 0 < got < 10_000_000
        loop.unwatch(listener)
        status._cools_until = 0.0
        loop.refusals = 1
        status.look(1.0)
        assert status.next_look() == 2.0
        status.look(2.0)
        assert status.next_look() is None
        status.stop()


def test_children_are_waited_for_although_whoever_started_us_ignores_their_deaths(tmp_path: Path) -> None:
    """SIGCHLD ignored is inherited, and would have the system wait for children in our stead."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        server = Server(
            tmp_path, "--listen", "127.0.0.1:0", "--workers", "1", "--capacity", "1", "handlers_for_tests:plain"
        )
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert server.ask(b"hi") == b"hello"
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()
