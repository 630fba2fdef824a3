"""The kqueue module against a poller that behaves as kqueue was measured to, on any system, and against the real one
where there is one.

What else is different on the systems that have it: ``test_differences.py``.
"""

from __future__ import annotations

import os
import select
import selectors
import socket
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from backchannel_server import platform
from backchannel_server.listeners import bind
from backchannel_server.platform import kqueue
from backchannel_server.platform.watching import LevelWatch
from plain_loop import PlainLoop
from real_listener import listening


@dataclass
class Event:
    ident: int
    filter: int
    flags: int
    data: int = 0


class Queues:
    """Stands in for the module ``select``: kqueues over listeners whose queues a test fills."""

    KQ_FILTER_READ = -1
    KQ_EV_ADD, KQ_EV_DELETE, KQ_EV_ONESHOT, KQ_EV_CLEAR = 1, 2, 16, 32

    TICK = 1 / 64

    def __init__(self) -> None:
        self.now = 128.0
        self.waiting: dict[int, int] = {}
        self.made: list[Kqueue] = []

    def kqueue(self) -> Kqueue:
        self.made.append(Kqueue(self))
        return self.made[-1]

    kevent = Event

    def arrive(self, fd: int) -> None:
        self.waiting[fd] = self.waiting.get(fd, 0) + 1
        for queue in self.made:
            queue.edge(fd)


class Kqueue:
    def __init__(self, world: Queues) -> None:
        self.world = world
        self.watched: dict[int, int] = {}
        self.edges: set[int] = set()
        self.closed = False

    def fileno(self) -> int:
        return 1000 + self.world.made.index(self)

    def close(self) -> None:
        self.closed = True

    def edge(self, fd: int) -> None:
        if fd in self.watched:
            self.edges.add(fd)

    def control(self, changes: list[Event] | None, limit: int, timeout: float | None = None) -> list[Event]:
        for change in changes or []:
            if change.flags & Queues.KQ_EV_DELETE:
                del self.watched[change.ident]  # ENOENT, if it is not there
                self.edges.discard(change.ident)
            else:
                self.watched[change.ident] = change.flags
                if self.world.waiting.get(change.ident):
                    self.edges.add(change.ident)
        out = []
        for fd in sorted(self.edges)[:limit]:
            if self.watched[fd] & (Queues.KQ_EV_CLEAR | Queues.KQ_EV_ONESHOT) or not self.world.waiting[fd]:
                self.edges.discard(fd)
            if self.world.waiting[fd]:  # the filter is asked again before the call returns
                out.append(Event(fd, Queues.KQ_FILTER_READ, 0, self.world.waiting[fd]))
                if self.watched[fd] & Queues.KQ_EV_ONESHOT:
                    del self.watched[fd]
        if limit and not out and timeout:
            ticks = -(-timeout // Queues.TICK)
            self.world.now += ticks * Queues.TICK
        return out


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Queues:
    fake = Queues()
    monkeypatch.setattr(kqueue, "select", fake)
    monkeypatch.setattr(kqueue, "_spare", [])
    monkeypatch.setattr(kqueue, "_forgotten", [])
    return fake


def listener(fd: int) -> socket.socket:
    return types.SimpleNamespace(fileno=lambda: fd)  # type: ignore[return-value]


def test_edges_come_once_and_may_stand_for_several(world: Queues) -> None:
    poller = kqueue.Poller()
    poller.add(7)
    assert poller.events() == []
    world.arrive(7)
    world.arrive(7)
    assert poller.events() == [7]
    assert poller.events() == []
    world.arrive(7)
    assert poller.events() == [7]


def test_what_waits_when_the_watch_begins_makes_an_edge(world: Queues) -> None:
    world.arrive(7)
    poller = kqueue.Poller()
    poller.add(7)
    assert poller.events() == [7]


def test_count_is_read_anew_each_time(world: Queues) -> None:
    assert kqueue.count(listener(7)) == 0
    world.arrive(7)
    world.arrive(7)
    assert kqueue.count(listener(7)) == 2
    world.waiting[7] = 1
    assert kqueue.count(listener(7)) == 1
    assert len(world.made) == 1, "one spare kqueue serves all counts"


def test_nothing_stays_in_the_spare_kqueue(world: Queues) -> None:
    kqueue.count(listener(7))
    assert world.made[0].watched == {}
    world.arrive(7)
    assert world.made[0].edges == set(), "an event left behind would come up in the count of another listener"
    kqueue.count(listener(7))
    assert world.made[0].watched == {}


def test_a_worker_never_closes_an_inherited_number(world: Queues) -> None:
    poller = kqueue.Poller()
    kqueue.count(listener(7))
    poller.forget()
    kqueue.forget()
    assert [queue.closed for queue in world.made] == [False, False]
    assert len(kqueue._forgotten) == 2, "the objects must be kept: collecting one closes its number"
    kqueue.count(listener(7))
    assert len(world.made) == 3, "the worker's own counts use a kqueue of its own"


REAL = pytest.mark.skipif(not hasattr(select, "kqueue"), reason="this system has no kqueue")


@pytest.fixture
def real() -> Iterator[tuple[socket.socket, Callable[[], socket.socket]]]:
    """A listener, and what connects to it."""
    with listening() as made:
        yield made
    kqueue.forget()


@REAL
def test_real_edges_come_once_and_may_stand_for_several(real: Any) -> None:
    made, arrive = real
    poller = kqueue.Poller()
    poller.add(made.fileno())
    assert poller.events() == []
    arrive()
    arrive()
    assert poller.events(5) == [made.fileno()]
    assert poller.events() == []
    arrive()
    assert poller.events(5) == [made.fileno()]
    poller.close()


@REAL
def test_real_counts_are_read_anew_and_leave_nothing(real: Any) -> None:
    made, arrive = real
    assert kqueue.count(made) == 0
    arrive()
    arrive()
    with bind("127.0.0.1:0") as other:
        assert kqueue.count(other) == 0, "what is known of one listener must not come up in the count of another"
    assert kqueue.count(made) == 2
    made.accept()[0].close()
    assert kqueue.count(made) == 1
    assert kqueue._spare[0].control(None, 8, 0) == []


@REAL
def test_a_real_number_is_not_closed_in_a_child() -> None:
    poller = kqueue.Poller()
    number = poller.fileno()
    child = os.fork()
    if not child:
        status = 1
        try:
            poller.forget()
            kqueue.forget()
            ours = os.dup2(0, number)  # the number is free by now; this is what got it
            del poller
            os.fstat(ours)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert poller.events() == [], "the parent's own goes on"
    poller.close()


class Selector(selectors.BaseSelector):
    """Looks like the parent's selector on kqueue to :func:`platform.forget`."""

    closed = False
    register = unregister = select = get_map = None  # type: ignore[assignment]

    def close(self) -> None:
        self.closed = True


@pytest.mark.usefixtures("world")
def test_a_worker_never_closes_the_selector_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[object] = []
    monkeypatch.setattr(platform, "_forgotten", kept)
    inherited = type("KqueueSelector", (Selector,), {})()
    platform.forget(inherited)
    assert not inherited.closed
    assert kept == [inherited]
    other = Selector()
    platform.forget(other)
    assert other.closed, "a poller of another kind is closed, not kept"


# ---------------------------------------------------------------------------------- clock ticks


def test_a_deadline_below_a_tick_is_late_by_one_and_counts_once(world: Queues) -> None:
    """A time-out is rounded up to whole ticks: each look comes late, none is made up for, none comes early."""
    poller = kqueue.Poller()
    watch = LevelWatch(PlainLoop())
    news: list[int] = []
    watch.start([listener(7)], news.append)
    watch.rearm(lambda _index: False, lambda _index: True, world.now)
    began, looks = world.now, []
    for _ in range(6):
        when = watch.next_look()
        assert when is not None
        poller.events(when - world.now)
        watch.look(world.now)
        looks.append((world.now - began) / world.TICK)
        watch.look(world.now)
        assert len(news) == len(looks), "late is no reason to look twice"
    assert looks == [1, 3, 6, 12, 23, 44], "10, 20, 40, 80, 160, 320 ms, each from where the last look was"


@REAL
def test_a_real_wait_below_a_tick_ends() -> None:
    poller = kqueue.Poller()
    assert poller.events(0.0001) == []
    poller.close()
