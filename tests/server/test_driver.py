"""The driver under a loop that has nothing but the three calls: what it does with them, and when they come late."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backchannel import (
    FRAME_SIZE,
    VERSION,
    Accept,
    Busy,
    Features,
    Hello,
    Idle,
    ParentState,
    Reason,
    Scaling,
    Settings,
    decode,
    encode,
)
from backchannel_server import StartError
from backchannel_server.driver import Driver
from backchannel_server.opening import Opened, open_all
from backchannel_server.successor import READY, Successor
from plain_loop import PlainLoop

pytestmark = pytest.mark.timeout(30)

SUCCESSOR = 1 << 30
"""Above every real process id."""


class ThreeCalls:
    """All that a driver gets to see of a loop; remembers what it was told to call."""

    def __init__(self, loop: PlainLoop) -> None:
        self.callbacks: list[Callable[[], object]] = []
        self.unwatch, self.time, self._watch = loop.unwatch, loop.time, loop.watch

    def watch(self, what: socket.socket | int, ready: Callable[[], object], *, writing: bool = False) -> None:
        """Remember, and watch."""
        self._watch(what, ready, writing=writing)
        self.callbacks.append(ready)


def sleeper(then: str) -> int:
    """A process that has no copy any more of what is open here: a new one has, for a moment."""
    reader, writer = os.pipe()
    command = ["sh", "-c", f"echo; {then}"]
    pid = os.posix_spawnp("sh", command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return pid


class World:
    """A driver of one worker, whose end of the channel the test has, and whose process only sleeps."""

    def __init__(self, opened: Opened, **options: Any) -> None:
        self.opened = opened
        self.loop = PlainLoop()
        self.calls = ThreeCalls(self.loop)
        self.ready: list[None] = []
        self.ends: list[socket.socket] = []
        self.driver = Driver(
            self.calls,
            self._start,
            opened,
            Settings(capacity=5),
            Scaling.fixed(1),
            on_ready=lambda: self.ready.append(None),
            **options,
        )

    def _start(self, _slot: int, _ours: socket.socket, theirs: socket.socket) -> int:
        self.ends.append(theirs.dup())
        self.ends[-1].setblocking(False)
        return sleeper("exec sleep 60")

    def turn(self) -> None:
        """What a loop does, once there is news."""
        assert self.loop.turn(5)
        self.driver.turn()

    def greet(self) -> None:
        """The worker says hello and answers its welcome."""
        worker = self.ends[-1]
        worker.send(encode(Idle(5, hello=Hello(VERSION, VERSION, Features(0)))))
        self.turn()
        self.answer(0)

    def order(self) -> Accept:
        """What the worker has been ordered."""
        frame = decode(self.ends[-1].recv(FRAME_SIZE))
        assert isinstance(frame, Accept)
        return frame

    def answer(self, taken: int) -> Accept:
        """The worker answers its order."""
        order = self.order()
        self.ends[-1].send(encode(Busy(order.order, taken, Reason.FILLED, 0, 5)))
        self.turn()
        return order

    def connect(self) -> socket.socket:
        """A client."""
        return socket.create_connection(self.opened.listeners.sockets[0].getsockname())

    def close(self) -> None:
        """The end, if it has not been."""
        self.driver.close()
        for end in self.ends:
            end.close()
        self.opened.close()
        self.loop.close()


Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a world; ``baton``: of a successor."""
    made: list[World] = []

    def make(baton: socket.socket | None = None, **options: Any) -> World:
        opened = open_all("127.0.0.1:0", status=str(tmp_path / "status"), environment={})
        opened.baton = baton
        made.append(World(opened, **options))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def baton() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The ends of the old parent and of its successor."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


def test_a_connection_from_its_arrival_to_the_answer(make: Make) -> None:
    world = make()
    driver = world.driver
    driver.begin()
    assert world.loop.watched() == 3, "the listeners' poller, the status socket and the channel"
    assert not world.ready
    world.greet()
    assert world.ready == [None]
    with world.connect():
        world.turn()
        order = world.order()
        assert (order.listener, order.max) == (0, 1)
        connection, _ = world.opened.listeners.sockets[0].accept()
        world.ends[0].send(encode(Busy(order.order, 1, Reason.FILLED, 1, 5)))
        world.turn()
        assert driver.core.workers[0].open == 1
        connection.close()
    assert driver.document()["board"] == "b"
    driver.obey(signal.SIGTERM)
    driver.turn()
    assert world.ends[0].recv(FRAME_SIZE) == b"", "it is told to drain"
    assert not driver.over
    os.kill(driver.channels.pids[0], signal.SIGKILL)
    os.waitid(os.P_PID, driver.channels.pids[0], os.WEXITED | os.WNOWAIT)
    driver.obey(signal.SIGCHLD)
    driver.turn()
    assert driver.over
    assert driver.failure is None
    driver.close()
    assert world.loop.watched() == 0


def test_a_call_that_comes_after_the_end_does_no_harm(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    monkeypatch.setattr(Successor, "start", lambda *_: Successor(SUCCESSOR, ours))
    world = make()
    world.driver.begin()
    world.greet()
    world.driver.obey(signal.SIGUSR2)
    with theirs, world.connect(), socket.socket(socket.AF_UNIX) as reader:
        reader.connect(world.opened.status.getsockname())  # type: ignore[union-attr]
        assert world.loop.watched() == 4
        world.driver.close()
        assert world.loop.watched() == 0
        assert len(world.calls.callbacks) == 4
        for callback in world.calls.callbacks:
            callback()
    assert world.loop.watched() == 0


def test_a_call_that_comes_after_the_watch_does_no_harm(make: Make, baton: tuple[socket.socket, socket.socket]) -> None:
    """Of a pool that goes on: its worker has broken the rules, and the baton has ended."""
    old, new = baton
    world = make(new)
    world.driver.begin()
    world.ends[0].send(b"rubbish" * 10)
    world.turn()
    old.close()
    world.turn()
    assert world.driver.core.state is ParentState.RUNNING
    assert not world.driver.channels._channels
    for callback in list(world.calls.callbacks):
        callback()
    world.driver.turn()


def test_no_room_to_watch_is_no_start(make: Make) -> None:
    world = make()
    world.loop.refusals = 1
    with pytest.raises(StartError, match="No space left on device; look at the limits"):
        world.driver.begin()


def test_no_worker_can_start(make: Make) -> None:
    said = [["a module is missing", "so is another"], []]
    world = make(reasons=lambda: said.pop(0))
    world.driver.begin()
    pid = world.driver.channels.pids[0]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    world.driver.channels.pids[0] = sleeper("exit 78")
    os.waitid(os.P_PID, world.driver.channels.pids[0], os.WEXITED | os.WNOWAIT)
    world.driver.obey(signal.SIGCHLD)
    assert not world.driver.over
    world.driver.turn()
    assert world.driver.over
    assert world.driver.failure is not None
    assert world.driver.failure.status == 78
    assert str(world.driver.failure) == "no worker can start: a module is missing; so is another"


def test_a_turn_or_a_signal_within_a_turn_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make()
    world.driver.begin()
    monkeypatch.setattr(world.driver.arrivals, "look", lambda _now: world.driver.obey(signal.SIGTERM))
    with pytest.raises(RuntimeError, match=r"Driver.obey.* within a turn.*wake the loop"):
        world.driver.turn()
    monkeypatch.setattr(world.driver.arrivals, "look", lambda _now: world.driver.turn())
    with pytest.raises(RuntimeError, match=r"Driver.turn.* within a turn"):
        world.driver.turn()
    monkeypatch.undo()
    world.driver.turn()
    assert world.driver.core.state is ParentState.RUNNING


def test_a_start_that_returns_no_process_id_is_told_so(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make()
    monkeypatch.setattr(world.driver.channels, "_start", lambda *_: None)
    with pytest.raises(TypeError, match=r"start\(\) returned None: it must return the worker's process id"):
        world.driver.begin()
    assert not world.driver.channels.pids, "else there is somebody to kill at the end who has no number"


def test_a_driver_lives_once(make: Make) -> None:
    world = make()
    with pytest.raises(RuntimeError, match=r"Driver.turn.* before begin"):
        world.driver.turn()
    world.driver.begin()
    with pytest.raises(RuntimeError, match=r"Driver.begin.* after begin"):
        world.driver.begin()
    world.driver.close()
    for call in (world.driver.begin, world.driver.turn):
        with pytest.raises(RuntimeError, match=r"after close.*a new Driver"):
            call()
    world.driver.close()
    assert len(world.ends) == 1, "nobody was started by a call that was refused"


def test_next_turn_is_the_first_of_all_that_is_due(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make()
    world.driver.begin()
    world.greet()
    assert world.driver.next_turn() is None, "an idle pool sleeps"
    with socket.socket(socket.AF_UNIX) as reader:
        path = world.opened.status.getsockname()  # type: ignore[union-attr]
        monkeypatch.setattr(world.driver, "document", lambda: {"long": "x" * 10_000_000})
        world.driver._status._document = world.driver.document  # type: ignore[union-attr]
        reader.connect(path)
        world.turn()
        assert world.driver.next_turn() == world.loop.now + 5.0, "a reader takes nothing"


# ------------------------------------------------------------------------------------------- hand over


def test_successor_owns_nothing_before_the_baton_ends(
    make: Make, baton: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "backchannel")
    old, new = baton
    world = make(new)
    world.driver.begin()
    world.greet()
    assert old.recv(9) == READY
    assert not world.ready
    assert world.loop.watched() == 2, "the baton and the channel"
    world.driver.obey(signal.SIGHUP)
    old.send(b"what is said there means nothing")
    world.turn()
    assert world.driver.core.state is ParentState.STANDBY
    assert "generation" not in caplog.text
    old.close()
    world.turn()
    assert world.driver.core.state is ParentState.RUNNING
    assert world.opened.baton is None
    assert world.ready == [None]
    assert world.loop.watched() == 4, "listeners, status socket, and the channels of two generations"
    assert "generation 2 begins" in caplog.text, "the reload that was asked for meanwhile"


def test_stopped_successor_takes_nothing_over(make: Make, baton: tuple[socket.socket, socket.socket]) -> None:
    """It waits for a worker to go, when the old parent dies."""
    old, new = baton
    world = make(new)
    world.driver.begin()
    world.driver.obey(signal.SIGTERM)
    world.driver.turn()
    old.close()
    world.turn()
    assert world.driver.core.state is ParentState.DRAINING
    assert world.driver.arrivals.watch is None
    assert world.loop.watched() == 0, "not even the baton, which would be readable for ever"
    for callback in world.calls.callbacks:
        callback()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, baton: tuple[socket.socket, socket.socket]) -> list[int]:
    """The signals that the successor gets, which has the other end of the baton."""
    numbers: list[int] = []
    kill = os.kill

    def kill_or_tell(pid: int, number: int) -> None:
        if pid == SUCCESSOR:
            numbers.append(number)
        else:
            kill(pid, number)

    monkeypatch.setattr(os, "kill", kill_or_tell)
    monkeypatch.setattr(Successor, "start", lambda *_: Successor(SUCCESSOR, baton[0]))
    return numbers


@pytest.fixture
def replaced(make: Make, told: list[int]) -> World:
    """A pool that serves, and whose successor starts."""
    world = make()
    world.driver.begin()
    world.greet()
    world.driver.obey(signal.SIGUSR2)
    assert world.driver.document()["successor"] == SUCCESSOR
    return world


@pytest.fixture
def yielding(replaced: World, baton: tuple[socket.socket, socket.socket]) -> Iterator[Accept]:
    """It is about to hand over: the order that has not been answered yet is in the way."""
    with replaced.connect():
        replaced.turn()
        order = replaced.order()
        baton[1].send(READY * 3)
        replaced.loop.turn(5)
        assert replaced.driver.core.state is ParentState.RUNNING, "in the turn, and not where it is heard"
        replaced.driver.turn()
        assert replaced.driver.core.state is ParentState.YIELDING
        assert replaced.driver.arrivals.watch is None
        yield order


def test_old_parent_hands_over(
    replaced: World, yielding: Accept, baton: tuple[socket.socket, socket.socket], told: list[int]
) -> None:
    _, new = baton
    with pytest.raises(BlockingIOError):
        new.recv(9)
    replaced.ends[0].send(encode(Busy(yielding.order, 1, Reason.FILLED, 1, 5)))
    replaced.turn()
    assert new.recv(9) == b"", "the baton is released"
    assert replaced.ends[0].recv(FRAME_SIZE) == b"", "and the worker drains"
    assert replaced.driver.core.state is ParentState.DRAINING
    assert replaced.loop.watched() == 1, "the channel"
    assert told == []


def test_old_parent_goes_on_without_a_successor(
    replaced: World, baton: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    _, new = baton
    replaced.driver.obey(signal.SIGUSR2)
    assert "SIGUSR2: no replacement while one starts" in caplog.text
    new.close()
    replaced.turn()
    assert f"successor {SUCCESSOR} ended before it had taken over: this parent carries on" in caplog.text
    with replaced.connect():
        replaced.turn()
        assert replaced.order().max == 1


@pytest.mark.usefixtures("yielding")
def test_stop_tells_the_successor_and_holds_the_baton(
    replaced: World, baton: tuple[socket.socket, socket.socket], told: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "backchannel")
    _, new = baton
    replaced.driver.obey(signal.SIGTERM)
    assert told == [signal.SIGTERM]
    with pytest.raises(BlockingIOError):
        new.recv(9)
    assert replaced.driver.core.state is ParentState.STOPPING
    assert replaced.driver.arrivals.watch is not None, "what is pending is this parent's to serve"
    new.close()
    replaced.turn()
    assert f"successor {SUCCESSOR} has ended" in caplog.text
    assert replaced.driver.core.state is ParentState.STOPPING


def test_interrupt_ends_the_successor(
    replaced: World, baton: tuple[socket.socket, socket.socket], told: list[int]
) -> None:
    replaced.driver.obey(signal.SIGINT)
    assert told == [signal.SIGKILL]
    assert replaced.driver.over
    assert baton[1].recv(9) == b""


def test_process_1_is_not_replaced(
    make: Make, monkeypatch: pytest.MonkeyPatch, told: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    world.driver.begin()
    monkeypatch.setattr(os, "getpid", lambda: 1)
    world.driver.obey(signal.SIGUSR2)
    monkeypatch.undo()
    assert world.driver.handover.successor_pid is None
    assert "this is process 1" in caplog.text


def test_successor_that_cannot_be_started(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object) -> Successor:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(Successor, "start", refused)
    world = make()
    world.driver.begin()
    world.driver.obey(signal.SIGUSR2)
    assert world.driver.handover.successor_pid is None
    assert "SIGUSR2: cannot start a successor" in caplog.text
