"""A parent that is played by a test, and a trio worker in the same process that obeys it."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from backchannel import FRAME_SIZE, Accept, Busy, Frame, Idle, Reason, decode, encode
from backchannel_trio.handlers import Handler
from backchannel_trio.worker import run


class FakeParent:
    """The parent's end of the channel, and the listener."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.channel = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.address = self.listener.getsockname()
        self.orders = 0
        self.begun = b""
        self.frames: list[Frame] = []
        """What was read."""
        self.exit_status: int | None = None

    async def frame(self) -> Frame:
        """The next frame from the worker."""
        while len(self.begun) < FRAME_SIZE:
            # read and kept in one step of this task, so that :meth:`written` misses nothing in between
            await trio.lowlevel.wait_readable(self.channel.socket)
            with self.peeker() as peeker:
                part = peeker.recv(FRAME_SIZE - len(self.begun))
            assert part, "the worker closed its channel"
            self.begun += part
        self.frames.append(decode(self.begun))
        self.begun = b""
        return self.frames[-1]

    def peeker(self) -> socket.socket:
        """The channel once more, as an ordinary socket that does not block."""
        return socket.socket(fileno=os.dup(self.channel.socket.fileno()))

    def written(self) -> list[Frame]:
        """All that the worker has written so far, read or not."""
        with self.peeker() as peeker:
            try:
                data = self.begun + peeker.recv(1 << 16, socket.MSG_PEEK)
            except BlockingIOError:
                data = self.begun
        return self.frames + [decode(data[at : at + FRAME_SIZE]) for at in range(0, len(data), FRAME_SIZE)]

    async def order(self, most: int) -> Busy:
        """Order, and take the answer, which must be the next frame."""
        self.orders += 1
        await self.channel.send_all(encode(Accept(self.orders, 0, most)))
        answer = await self.frame()
        assert isinstance(answer, Busy)
        assert answer.order == self.orders
        return answer

    def connect(self) -> trio.SocketStream:
        """A client; the listener's backlog takes it at once."""
        return trio.SocketStream(trio.socket.from_stdlib_socket(socket.create_connection(self.address)))

    async def ended(self) -> None:
        """Read until the worker has closed its channel."""
        while await self.channel.receive_some(4096):
            pass


@asynccontextmanager
async def working(
    handler: Handler, capacity: int = 4, drain_deadline: float = 30.0, quota: int = 0
) -> AsyncIterator[FakeParent]:
    """A worker that has been welcomed. It is cancelled at the end, if it is still there."""
    parent = FakeParent()
    held = parent.listener.dup()

    async def be_worker() -> None:
        parent.exit_status = await run(
            parent.theirs, [held], handler, capacity=capacity, drain_deadline=drain_deadline, quota=quota
        )

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(be_worker)
            hello = await parent.frame()
            assert isinstance(hello, Idle)
            assert hello.hello
            assert hello.capacity == capacity
            assert await parent.order(0) == Busy(1, 0, Reason.FILLED, 0, capacity)
            yield parent
            nursery.cancel_scope.cancel()
    finally:
        await parent.channel.aclose()
        parent.listener.close()
