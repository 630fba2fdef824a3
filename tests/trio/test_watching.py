"""What is waited for may be closed in the very turn in which it has news: the task that was woken finds it gone."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from backchannel_server import platform
from backchannel_server.status_socket import PATIENCE, READERS
from backchannel_trio.watching import Channels, StatusSocket, ended, hear_arrivals

pytestmark = pytest.mark.trio


class Closer(trio.abc.Instrument):
    """Calls ``close`` as soon as the task called ``name`` has been woken by news, before its turn."""

    def __init__(self, name: str, close: Callable[[], None]) -> None:
        self.name = name
        self.close = close
        self.done = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task that was woken has its turn."""
        if self.name in task.name and not self.done:
            self.done = True
            self.close()


@asynccontextmanager
async def closed_when_woken(closer: Closer) -> AsyncIterator[trio.Nursery]:
    """A nursery whose task ``closer`` watches: inside, all tasks sleep; afterwards they have ended."""
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            yield nursery
            await trio.testing.wait_all_tasks_blocked()
        assert closer.done


async def asleep(closer: Closer) -> None:
    """All tasks sleep; the next news is the one to close at."""
    await trio.testing.wait_all_tasks_blocked()
    trio.lowlevel.add_instrument(closer)


async def test_poller_closed_before_the_task_begins() -> None:
    poller = platform.edge_poller()
    poller.close()
    await hear_arrivals(poller, [], lambda _: pytest.fail("there is nothing to hear of"))


async def test_poller_closed_after_an_arrival() -> None:
    poller = platform.edge_poller()
    closer = Closer("hear_arrivals", poller.close)
    arrived: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with closed_when_woken(closer) as nursery:
            nursery.start_soon(hear_arrivals, poller, [listener], arrived.append)
            await asleep(closer)
            socket.create_connection(listener.getsockname()).close()
    assert arrived == []


async def test_baton_closed_after_its_end() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    closer = Closer("ended", ours.close)
    async with closed_when_woken(closer) as nursery:
        nursery.start_soon(ended, ours)
        await asleep(closer)
        theirs.close()


class Endless(socket.socket):
    """A socket at whose other end somebody never stops writing."""

    def recv(self, count: int, _flags: int = 0) -> bytes:
        """There is always more."""
        return b"x" * count


async def test_baton_on_which_somebody_never_stops_writing_holds_up_nobody() -> None:
    ours, theirs = socket.socketpair()
    with Endless(fileno=ours.detach()) as baton, theirs:
        theirs.send(b"x")  # it stays there, so the baton can be read for ever
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ended, baton)
                for _ in range(10):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()


async def test_no_room_to_watch(monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock) -> None:
    """As by epoll's limit for a user's watches, which any process of that user may use up."""

    async def refused(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trio.lowlevel, "wait_readable", refused)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(b"R")
        assert not await ended(ours, but=b"R")
        theirs.close()
        assert await ended(ours)
    turns: list[int] = []
    left, right = socket.socketpair()
    with right:
        async with trio.open_nursery() as nursery:
            channels = Channels(nursery, lambda: turns.append(1))
            channels.register(left, 1, lambda _: left.close() if turns else None)
    assert len(turns) == 2


async def test_status_socket_closed_after_a_connection() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = str(Path(folder, "s"))
        listener.bind(path)
        listener.listen()
        status = StatusSocket(listener, dict)
        closer = Closer("StatusSocket.serve", status.close)
        async with closed_when_woken(closer) as nursery:
            nursery.start_soon(status.serve)
            await asleep(closer)
            with socket.socket(socket.AF_UNIX) as reader:
                reader.connect(path)


@pytest.mark.parametrize("leaves", ["in time", "by number"])
async def test_status_readers_that_take_nothing(leaves: str, autojump_clock: trio.testing.MockClock) -> None:
    with tempfile.TemporaryDirectory(prefix="bc-") as folder, ExitStack() as clients:
        listener = clients.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(f"{folder}/status")
        listener.listen()
        listener.setblocking(False)
        status = StatusSocket(listener, lambda: {"x": "y" * 2_000_000})

        async def connect() -> socket.socket:
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(f"{folder}/status")
            client.setblocking(False)
            return client

        def gone(client: socket.socket) -> bool:
            try:
                while client.recv(1 << 20):
                    pass
            except BlockingIOError:
                return False
            return True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(status.serve)
            if leaves == "in time":
                begun = trio.current_time()
                client = await connect()
                await trio.sleep(PATIENCE + 1)  # by a clock that jumps when all else waits
                assert trio.current_time() - begun >= PATIENCE
                assert gone(client)
            else:
                first, *others = [await connect() for _ in range(READERS + 1)]
                await trio.testing.wait_all_tasks_blocked()
                assert gone(first)
                assert not any(gone(client) for client in others)
            status.close()
