"""What is watched may be closed in the very turn in which it has news: the task that was woken finds it gone."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from backchannel_trio.parent import TrioLoop

pytestmark = pytest.mark.trio


class Closer(trio.abc.Instrument):
    """Calls ``close`` as soon as the task that watches has been woken by news, before its turn."""

    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close
        self.done = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task that was woken has its turn."""
        if "TrioLoop.watch" in task.name and not self.done:
            self.done = True
            self.close()


@asynccontextmanager
async def running() -> AsyncIterator[TrioLoop]:
    """A loop; afterwards all its tasks have ended."""
    loop = TrioLoop()
    with trio.fail_after(5):
        async with trio.open_nursery() as loop.nursery:
            yield loop


async def test_closed_before_the_task_begins() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        async with running() as loop:
            loop.watch(ours, lambda: pytest.fail("it is watched no more"))
            loop.unwatch(ours)
            theirs.send(b"x")


async def test_closed_after_news() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        async with running() as loop:

            def close() -> None:
                loop.unwatch(ours)
                ours.close()

            loop.watch(ours, lambda: pytest.fail("it is watched no more"))
            await trio.testing.wait_all_tasks_blocked()
            closer = Closer(close)
            trio.lowlevel.add_instrument(closer)
            theirs.send(b"x")
        assert closer.done
    assert not loop.due.is_set()


async def test_a_number_that_is_another_s_by_then() -> None:
    """As when a worker has gone, and the next one's channel gets the number of its channel."""
    ours, theirs = socket.socketpair()
    other, others = socket.socketpair()
    heard: list[str] = []
    with theirs, other, others:
        async with running() as loop:

            def exchange() -> None:
                loop.unwatch(number)
                os.dup2(other.fileno(), number)
                loop.watch(number, lambda: (heard.append(os.read(number, 9).decode()), loop.unwatch(number)))

            number = ours.detach()
            loop.watch(number, lambda: heard.append("the old one"))
            await trio.testing.wait_all_tasks_blocked()
            trio.lowlevel.add_instrument(Closer(exchange))
            theirs.send(b"x")
            await trio.testing.wait_all_tasks_blocked()
            assert heard == []
            others.send(b"the new")
        os.close(number)
    assert heard == ["the new"]


async def test_whoever_never_stops_writing_holds_up_nobody() -> None:
    ours, theirs = socket.socketpair()
    calls: list[None] = []
    with ours, theirs:
        theirs.send(b"x")  # it stays there, so it can be read for ever
        async with running() as loop:
            loop.watch(ours, lambda: calls.append(None))
            for _ in range(5):
                await loop.sleep(None)
            loop.unwatch(ours)
    assert len(calls) >= 5


async def test_a_turn_is_due_after_news_and_in_time(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        async with running() as loop:
            began = loop.time()
            await loop.sleep(began + 3)
            assert loop.time() == began + 3
            loop.watch(ours, lambda: ours.recv(9))
            theirs.send(b"x")
            await loop.sleep(began + 60)
            assert loop.time() < began + 60
            loop.unwatch(ours)


async def test_writing() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        async with running() as loop:
            loop.watch(ours, lambda: loop.unwatch(ours), writing=True)
            await loop.sleep(None)


async def test_no_room_to_watch(monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock) -> None:
    """As by epoll's limit for a user's watches, which any process of that user may use up: it looks now and then."""

    async def refused(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trio.lowlevel, "wait_readable", refused)
    calls: list[float] = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        async with running() as loop:
            loop.watch(ours, lambda: calls.append(loop.time()))
            while len(calls) < 3:
                await loop.sleep(None)
            loop.unwatch(ours)
    assert calls[2] - calls[1] == pytest.approx(0.1)
