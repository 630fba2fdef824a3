"""The trio worker, in this process and on virtual time."""

from __future__ import annotations

import os
import socket
import struct

import pytest
import trio
import trio.testing
from backchannel import FRAME_SIZE, Busy, Frame, Gone, Idle, Reason
from backchannel_trio import WorkerInfo
from backchannel_trio.worker import UNWINDING
from fake_parent import working

pytestmark = pytest.mark.trio


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


def waiting_to_read() -> int:
    """Descriptors that trio waits for."""
    figures = trio.lowlevel.current_statistics().io_statistics
    if figures.backend == "epoll":
        return figures.tasks_waiting_read
    assert figures.backend == "kqueue"
    return figures.tasks_waiting


async def test_serves_and_reports() -> None:
    async with working(echo) as parent, parent.connect() as client:
        assert await parent.order(1) == Busy(2, 1, Reason.FILLED, 1, 4)
        await client.send_all(b"hello")
        assert await client.receive_some() == b"hello"
        await client.send_eof()
        assert await client.receive_some() == b""
        assert await parent.frame() == Idle(4)


async def test_answers_an_order_for_nothing_at_once() -> None:
    async with working(echo) as parent:
        assert await parent.order(3) == Busy(2, 0, Reason.EMPTY, 0, 4)


async def test_answers_before_it_serves() -> None:
    written: list[Frame] = []

    async def handler(_stream: trio.SocketStream) -> None:
        written.extend(parent.written())

    async with working(handler) as parent, parent.connect():
        answer = await parent.order(1)
        assert answer.accepted == 1
        assert await parent.frame() == Idle(4)
    assert written[-1] == answer


async def test_what_ends_in_one_turn_is_one_report() -> None:
    most, last = trio.Event(), trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        await (last if await stream.receive_some(1) == b"l" else most).wait()

    async with working(handler, capacity=8) as parent:
        clients = [parent.connect() for _ in range(5)]
        assert (await parent.order(5)).open == 5
        for client in clients:
            await client.send_all(b"l" if client is clients[0] else b"m")
        await trio.testing.wait_all_tasks_blocked()
        most.set()
        assert await parent.frame() == Gone(1, 8)
        last.set()
        assert await parent.frame() == Idle(8)
        for client in clients:
            await client.aclose()


async def test_waits_for_its_channel_and_for_no_listener() -> None:
    before = waiting_to_read()
    async with working(echo) as parent, parent.connect():
        # a connection is pending, and the worker does not even look
        await trio.testing.wait_all_tasks_blocked()
        assert waiting_to_read() == before + 1
        assert (await parent.order(1)).open == 1
        await trio.testing.wait_all_tasks_blocked()
        assert waiting_to_read() == before + 2


async def test_error_ends_its_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            if await stream.receive_some(1) == b"x":
                raise ValueError("asked to")

    async with working(handler) as parent, parent.connect(), parent.connect() as bad:
        assert (await parent.order(2)).open == 2
        await bad.send_all(b"x")
        assert await bad.receive_some() == b""
        assert await parent.frame() == Gone(1, 4)
        assert await parent.order(1) == Busy(3, 0, Reason.EMPTY, 1, 4)
    assert "a handler failed" in caplog.text
    assert "asked to" in caplog.text


async def test_a_cancellation_that_a_handler_has_kept_is_its_own_fault(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        kept: list[trio.Cancelled] = []
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as error:
                kept.append(error)
                raise
        raise kept[0]

    async with working(handler) as parent, parent.connect() as bad:
        assert (await parent.order(1)).open == 1
        await bad.send_all(b"x")
        assert await bad.receive_some() == b""
        assert await parent.frame() == Idle(4)
    assert caplog.text.count("a handler failed") == 1


async def test_a_client_that_resets_is_one_line_though_a_nursery_wraps_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def handler(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await stream.receive_some(1)

    async with working(handler) as parent, parent.connect() as client:
        assert (await parent.order(1)).open == 1
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()
        assert await parent.frame() == Idle(4)
    (record,) = [record for record in caplog.records if "has gone" in record.message]
    assert (record.levelname, record.exc_info) == ("INFO", None)


async def test_an_error_while_a_handler_is_cancelled_is_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("while it cleans up")

    async with working(handler, drain_deadline=3.0) as parent, parent.connect():
        assert (await parent.order(1)).open == 1
        await parent.channel.send_eof()
        await parent.ended()
        await trio.testing.wait_all_tasks_blocked()
        assert parent.exit_status == 0
    assert "while it cleans up" in caplog.text
    assert "open at the drain deadline" in caplog.text


async def test_a_handler_can_wait_for_the_drain() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        info = WorkerInfo(0, 4)
        assert not info.draining
        await stream.send_all(b"waiting")
        await info.wait_draining()
        assert info.draining
        await stream.send_all(b"draining")

    async with working(handler) as parent, parent.connect() as client:
        assert (await parent.order(1)).open == 1
        assert await client.receive_some() == b"waiting"
        await parent.channel.send_eof()
        assert await client.receive_some() == b"draining"
        assert await client.receive_some() == b""


async def test_answers_while_it_serves() -> None:
    async with working(lambda _stream: trio.sleep_forever()) as parent, parent.connect(), parent.connect():
        for number in (1, 2):
            assert (await parent.order(1)).open == number


async def test_drain_finishes_what_is_held() -> None:
    async with working(echo) as parent, parent.connect() as client:
        assert (await parent.order(1)).open == 1
        await parent.channel.send_eof()
        await trio.testing.wait_all_tasks_blocked()
        parent.listener.close()
        # the worker has closed its descriptor too, so nobody listens
        with pytest.raises(ConnectionRefusedError):
            parent.connect()
        await client.send_all(b"still there")
        assert await client.receive_some() == b"still there"
        await client.aclose()
        assert await parent.frame() == Idle(4)
        await parent.ended()
        await trio.testing.wait_all_tasks_blocked()
        assert parent.exit_status == 0


async def test_drain_deadline_cancels(autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    unwound: list[float] = []

    async def handler(_stream: trio.SocketStream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            unwound.append(trio.current_time())

    async with working(handler, drain_deadline=12.0) as parent, parent.connect() as client:
        assert (await parent.order(1)).open == 1
        began = trio.current_time()
        await parent.channel.send_eof()
        assert await client.receive_some() == b""
        await parent.ended()
        await trio.testing.wait_all_tasks_blocked()
        assert parent.exit_status == 0
        assert unwound == [began + 12.0]
    assert "open at the drain deadline" in caplog.text


async def test_handler_that_will_not_go_is_left(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[tuple[float, int]] = []
    gone = trio.Event()

    def leave(status: int) -> None:
        left.append((trio.current_time(), status))
        gone.set()

    async def handler(_stream: trio.SocketStream) -> None:
        with trio.CancelScope(shield=True):
            await gone.wait()

    monkeypatch.setattr(os, "_exit", leave)
    async with working(handler, drain_deadline=3.0) as parent, parent.connect():
        assert (await parent.order(1)).open == 1
        began = trio.current_time()
        await parent.channel.send_eof()
        await parent.ended()
        assert left == [(began + 3.0 + UNWINDING, 0)]


async def test_quota_retires() -> None:
    async with working(echo, quota=2) as parent, parent.connect(), parent.connect():
        assert await parent.order(1) == Busy(2, 1, Reason.FILLED, 1, 4)
        assert (await parent.order(1)).open == 2
        assert await parent.frame() == Gone(2, 0)


async def test_broken_parent_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    async with working(echo) as parent:
        await parent.channel.send_all(b"\xff" * FRAME_SIZE)
        await parent.ended()
        await trio.testing.wait_all_tasks_blocked()
        assert parent.exit_status == 76
    assert "the parent broke the protocol" in caplog.text


async def test_parent_gone_is_a_drain() -> None:
    async with working(echo) as parent, parent.connect() as client:
        assert (await parent.order(1)).open == 1
        await parent.channel.aclose()
        await client.send_all(b"x")
        assert await client.receive_some() == b"x"
        await client.send_eof()
        assert await client.receive_some() == b""
        await trio.testing.wait_all_tasks_blocked()
        assert parent.exit_status == 0


async def test_full_channel_keeps_the_newest_status_only() -> None:
    """The parent reads nothing for a while: then it is told what is true, not all that was (BC-CHAN-08)."""
    changes = 100
    async with working(echo, capacity=2 * changes) as parent:
        parent.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        clients = []
        for number in range(changes):
            clients.append(parent.connect())
            assert (await parent.order(1)).open == number + 1
        for client in clients[1:]:
            await client.aclose()
            await trio.testing.wait_all_tasks_blocked()
        told = [await parent.frame()]
        while told[-1] != Gone(1, 2 * changes):
            told.append(await parent.frame())
        assert len(told) < changes - 1, "the channel never was full, so nothing was shown"
        await clients[0].aclose()
        assert await parent.frame() == Idle(2 * changes)


async def test_cancelled_worker_leaves_nothing_open() -> None:
    async with working(echo) as parent, parent.connect() as client:
        assert (await parent.order(1)).open == 1
    assert parent.theirs.fileno() == -1
    with pytest.raises(ConnectionRefusedError):
        parent.connect()
    await client.aclose()
