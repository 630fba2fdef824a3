"""The trio parent in this process, on virtual time: its workers are tasks of the same loop, and have no processes."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
from backchannel import ExecStart, Scaling, Settings
from backchannel_server.errors import StartError
from backchannel_server.opening import open_all
from backchannel_trio.handlers import Handler
from backchannel_trio.parent import Pool
from backchannel_trio.worker import run

pytestmark = pytest.mark.trio

FIRST_PID = 1 << 30
"""Above every real process id, so that nothing real can be hit by mistake."""


class Workers:
    """Starts workers as tasks, and plays the system calls that deal with processes."""

    def __init__(self, nursery: trio.Nursery, handler: Handler) -> None:
        self.nursery = nursery
        self.handler = handler
        self.scopes: dict[int, trio.CancelScope] = {}
        self.dead: dict[int, int] = {}
        """Wait statuses of those that have not been waited for."""
        self.started: list[float] = []
        self.killed: list[int] = []
        self.refuse = False
        self.mute = False

    def start(self, start: ExecStart, channel: socket.socket, listeners: Sequence[socket.socket]) -> int:
        """As :meth:`backchannel_server.exec_binding.Launcher.start`."""
        if self.refuse:
            raise OSError(11, "Resource temporarily unavailable")
        pid = FIRST_PID + len(self.started)
        self.started.append(trio.current_time())
        held = [listener.dup() for listener in listeners]
        self.nursery.start_soon(self._work, pid, channel.dup(), held, start)
        return pid

    async def _work(self, pid: int, channel: socket.socket, listeners: list[socket.socket], start: ExecStart) -> None:
        try:
            with trio.CancelScope() as self.scopes[pid]:
                if self.mute:
                    await trio.sleep_forever()
                status = await run(
                    channel, listeners, self.handler, capacity=start.capacity, drain_deadline=start.drain_deadline
                )
                self.exit(pid, status << 8)
        finally:
            for sock in (channel, *listeners):
                sock.close()

    def exit(self, pid: int, status: int) -> None:
        """The process is gone: its parent hears of it."""
        self.dead[pid] = status
        signal.raise_signal(signal.SIGCHLD)

    def kill(self, pid: int, number: int) -> None:
        """As ``os.kill``."""
        assert pid >= FIRST_PID
        assert number == signal.SIGKILL
        self.killed.append(pid)
        self.scopes[pid].cancel()
        self.exit(pid, number)

    def waitpid(self, pid: int, options: int) -> tuple[int, int]:
        """As ``os.waitpid``; it never has to wait."""
        assert pid >= FIRST_PID
        assert options or pid in self.dead
        return (pid, self.dead.pop(pid)) if pid in self.dead else (0, 0)


Made = tuple[Pool, Workers]


@asynccontextmanager
async def running(
    monkeypatch: pytest.MonkeyPatch,
    handler: Handler,
    scaling: Scaling,
    settings: Settings | None = None,
    prepare: Callable[[Workers], None] = lambda _workers: None,
) -> AsyncIterator[Made]:
    """A pool whose first workers are ready."""
    opened = open_all(["127.0.0.1:0"], environment={})
    try:
        async with trio.open_nursery() as nursery:
            workers = Workers(nursery, handler)
            prepare(workers)
            monkeypatch.setattr(os, "kill", workers.kill)
            monkeypatch.setattr(os, "waitpid", workers.waitpid)
            pool = Pool(workers, opened, settings or Settings(capacity=1), scaling)  # type: ignore[arg-type]
            await nursery.start(partial(run_pool, pool))
            yield pool, workers
            nursery.cancel_scope.cancel()
    finally:
        opened.close()


async def run_pool(pool: Pool, task_status: trio.TaskStatus[Pool]) -> None:
    await pool.run(task_status=task_status)


async def ask(pool: Pool) -> bytes:
    """Be one client."""
    host, _, port = pool.addresses[0].rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(b"hi")
        return await stream.receive_some()


async def greet(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"hello")


async def test_serves_when_started(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch, greet, Scaling.fixed(3)) as (pool, workers):
        assert pool.driver.core.ever_ready == 3
        for _ in range(10):
            assert await ask(pool) == b"hello"
        assert pool.driver.core.counters.orders == 10
        assert len(workers.started) == 3


async def test_stop_drains_and_ends(monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock) -> None:
    ended = trio.Event()
    held = trio.Event()

    async def hold(stream: trio.SocketStream) -> None:
        await stream.send_all(b"held")
        await held.wait()

    async with running(monkeypatch, hold, Scaling.fixed(2)) as (pool, workers):
        assert await ask(pool) == b"held"
        pool.stop()
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while not pool.driver.core.finished:
                    await trio.sleep(0.1)
                ended.set()

            nursery.start_soon(watch)
            await trio.sleep(5)
            assert not ended.is_set(), "a worker holds a connection still"
            held.set()
        assert ended.is_set()
        assert workers.killed == []
        assert not workers.dead, "all were waited for"


async def test_cancelling_kills_and_waits_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch, greet, Scaling.fixed(3)) as (_, workers):
        pass
    assert len(workers.killed) == 3
    assert not workers.dead


async def test_death_is_made_good(monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock) -> None:
    async with running(monkeypatch, greet, Scaling.fixed(2)) as (pool, workers):
        assert await ask(pool) == b"hello"
        await trio.sleep(10)
        began = trio.current_time()
        workers.scopes[FIRST_PID].cancel()
        workers.exit(FIRST_PID, signal.SIGKILL)
        await trio.sleep(10)
        assert workers.started[2:] == [pytest.approx(began, abs=1.0)]
        assert pool.driver.core.counters.deaths == 1
        assert await ask(pool) == b"hello"


async def test_mute_worker_is_killed_at_its_deadline(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """To the moment: nothing else wakes the parent."""
    fakes: list[Workers] = []

    def prepare(workers: Workers) -> None:
        workers.mute = True
        fakes.append(workers)

    settings = Settings(capacity=1, start_deadline=7.0)
    with trio.move_on_after(8.5) as scope:
        async with running(monkeypatch, greet, Scaling.fixed(1), settings, prepare):
            pytest.fail("a mute worker was taken for ready")
    assert scope.cancelled_caught
    (workers,) = fakes
    assert workers.killed[0] == FIRST_PID
    # early_exit_delay later another is tried
    assert [when - workers.started[0] for when in workers.started[1:]] == [pytest.approx(8.0)]


async def test_pool_grows_by_demand(monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock) -> None:
    release = trio.Event()

    async def hold(stream: trio.SocketStream) -> None:
        await stream.send_all(b"held")
        await release.wait()

    scaling = Scaling(start=1, min=1, max=6, min_spare=1, max_spare=2, period=1.0)
    async with running(monkeypatch, hold, scaling) as (pool, workers):
        clients = []
        host, _, port = pool.addresses[0].rpartition(":")
        for _ in range(4):
            clients.append(await trio.open_tcp_stream(host, int(port)))
            assert await clients[-1].receive_some() == b"held"
        await trio.sleep(20)
        assert len(pool.driver.core.workers) == 5
        release.set()
        for client in clients:
            await client.aclose()
        await trio.sleep(60)
        assert len(pool.driver.core.workers) == 2
        assert pool.driver.core.counters.retired == 3
        assert workers.killed == []


async def test_refused_process_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(monkeypatch, greet, Scaling.fixed(2)) as (pool, workers):
        workers.refuse = True
        workers.scopes[FIRST_PID].cancel()
        workers.exit(FIRST_PID, 1 << 8)
        await trio.sleep(5)
        assert "starting its process failed" in caplog.text
        assert await ask(pool) == b"hello"
        workers.refuse = False
        await trio.sleep(60)
        assert len(pool.driver.core.workers) == 2


async def test_no_worker_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: Workers, *_: object) -> int:
        pid = FIRST_PID + len(self.started)
        self.started.append(0.0)
        self.scopes[pid] = trio.CancelScope()
        trio.lowlevel.current_trio_token().run_sync_soon(self.exit, pid, 78 << 8)
        return pid

    monkeypatch.setattr(Workers, "start", start)
    with pytest.RaisesGroup(pytest.RaisesExc(StartError, match="no worker can start"), flatten_subgroups=True):
        async with running(monkeypatch, greet, Scaling.fixed(1)):
            pytest.fail("nothing was ready")


async def test_idle_parent_sets_no_timer_and_makes_no_turn(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(monkeypatch, greet, Scaling.fixed(3)) as (pool, _):
        assert await ask(pool) == b"hello"
        await trio.sleep(60)
        turns: list[None] = []
        one = pool.driver.turn
        monkeypatch.setattr(pool.driver, "turn", lambda: (turns.append(None), one()))
        await trio.sleep(3600)
        assert turns == []
