"""The kqueue module against a poller that behaves as kqueue was measured to, on any system.

Where there is a real kqueue, ``test_system.py`` runs the same module against it.
"""

from __future__ import annotations

import socket
import types
from dataclasses import dataclass

import pytest
from backchannel_sync.system import kqueue


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

    def __init__(self) -> None:
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

    def control(self, changes: list[Event] | None, limit: int, _timeout: float | None = None) -> list[Event]:
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
            self.edges.discard(fd)
            out.append(Event(fd, Queues.KQ_FILTER_READ, 0, self.world.waiting[fd]))
            if self.watched[fd] & Queues.KQ_EV_ONESHOT:
                del self.watched[fd]
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
