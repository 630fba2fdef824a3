"""Any ASGI application on trio: hypercorn serves each connection, the pool decides where.

hypercorn speaks HTTP/1.1, HTTP/2 (by prior knowledge), WebSocket and ASGI. It has no public way to serve one connection
that somebody else has accepted: ``TCPServer``, ``WorkerContext`` and ``Lifespan`` are internal to it, and so is what a
drain needs. So its version is pinned, and a test of this example goes through all that is used.

``APP`` names the application, ``asgi_app:application`` if it is not set.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from backchannel_server.handlers import load
from backchannel_trio import current_worker
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Event, RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import TrioSingleTask, WorkerContext
from hypercorn.typing import LifespanState
from hyperframe.frame import GoAwayFrame
from wsproto.events import CloseConnection

APPLICATION = ASGIWrapper(load(os.environ.get("APP", "asgi_app:application")))


LINGER = 3.0
"""Seconds in a drain that a client has for what is on its way already: a request on a persistent HTTP/1 connection,
which cannot be told that it is about to end but by a response, and the answer to the closing of a WebSocket.
"""
RESTART = 1012
"""WebSocket's code for a server that restarts: come back."""


class Exchange(TCPServer):
    """One connection. In a drain it ends as soon as its protocol lets it, and no request is lost by that."""

    def __init__(self, config: Config, state: LifespanState, stream: trio.SocketStream) -> None:
        super().__init__(APPLICATION, config, WorkerContext(None), state, stream)
        self.drain_task = TrioSingleTask()
        self.drains = trio.Event()
        """The client was told, or will be as soon as there is a way to."""
        self.told: list[object] = []
        """HTTP/2 and WebSockets that were told."""

    async def _read_data(self) -> None:
        await self.drain_task.restart(self._task_group, self._drain)
        await super()._read_data()
        # the client has gone; left alone, these would keep its connection in our books until they are through
        await self.drain_task.stop()
        await self.idle_task.stop()

    async def _drain(self) -> None:
        await current_worker().wait_draining()
        await self._tell()
        self.drains.set()

    async def protocol_send(self, event: Event) -> None:
        await super().protocol_send(event)
        if self.drains.is_set():
            await self._tell()  # what has begun since

    async def _tell(self) -> None:
        protocol = self.protocol.protocol
        if isinstance(protocol, H11Protocol):
            # as if these had been the last: hypercorn says "connection: close" in the next response, and means it
            protocol.keep_alive_requests = self.config.keep_alive_max_requests
            streams = [protocol.stream]
        else:
            streams = list(protocol.streams.values())
            if protocol not in self.told:
                self.told.append(protocol)
                # h2 can say this too, but ends the streams that are served with it
                last = protocol.connection.highest_inbound_stream_id
                await self.context.terminated.set()  # hypercorn takes no more, and closes when it has none
                await super().protocol_send(RawData(GoAwayFrame(0, last_stream_id=last).serialize()))
        for stream in streams:
            if isinstance(stream, WSStream) and stream not in self.told:
                await self._tell_websocket(stream)

    async def _tell_websocket(self, stream: WSStream) -> None:
        if stream.state is ASGIWebsocketState.CONNECTED:
            self.told.append(stream)
            await stream._send_wsproto_event(CloseConnection(RESTART, "the server restarts"))
            if isinstance(self.protocol.protocol, H11Protocol):
                await self.idle_task.restart(self._task_group, self._idle_timeout)

    async def _idle_timeout(self) -> None:
        with trio.move_on_after(self.config.keep_alive_timeout):
            await self.drains.wait()
            if isinstance(self.protocol.protocol, H11Protocol):
                await trio.sleep(LINGER)
        with trio.CancelScope(shield=True):
            await self._initiate_server_close()


@asynccontextmanager
async def service() -> AsyncIterator[Callable[[trio.SocketStream], Awaitable[None]]]:
    """The application's life in one worker: it has started before the first connection comes, or the worker ends."""
    config = Config()
    config.errorlog = logging.getLogger("asgi")  # its own would write each line a second time
    config.keep_alive_timeout = float(os.environ.get("KEEP_ALIVE", "5"))
    state: LifespanState = {}
    lifespan = Lifespan(APPLICATION, config, state)

    async def handle(stream: trio.SocketStream) -> None:
        """Serve one connection, for as many requests as the client makes on it."""
        await Exchange(config, state, stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        if lifespan.supported and lifespan.shutdown.is_set():
            await trio.sleep_forever()  # it has failed, which is about to end this nursery
        yield handle
        await lifespan.wait_for_shutdown()
        nursery.cancel_scope.cancel()
