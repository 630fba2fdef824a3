"""Any ASGI application on trio: hypercorn serves each connection, the pool decides where.

hypercorn speaks HTTP/1.1, HTTP/2 (by prior knowledge), WebSocket and ASGI. It has no public way to serve one connection
that somebody else has accepted: ``TCPServer``, ``WorkerContext`` and ``Lifespan`` are internal to it. So its version is
pinned, and a test of this example goes through all that is used.

``APP`` names the application, ``asgi_app:application`` if it is not set.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from backchannel_sync.handlers import load
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import LifespanState

APPLICATION = ASGIWrapper(load(os.environ.get("APP", "asgi_app:application")))


class Exchange(TCPServer):
    """One connection."""

    async def _read_data(self) -> None:
        await super()._read_data()
        # the client has gone; left alone, the timer would keep its connection in our books until it runs out
        await self.idle_task.stop()


@asynccontextmanager
async def service() -> AsyncIterator[Callable[[trio.SocketStream], Awaitable[None]]]:
    """The application's life in one worker: it has started before the first connection comes, or the worker ends."""
    config = Config()
    config.errorlog = logging.getLogger("asgi")  # its own would write each line a second time
    config.keep_alive_timeout = float(os.environ.get("KEEP_ALIVE", "5"))
    state: LifespanState = {}
    context = WorkerContext(None)
    lifespan = Lifespan(APPLICATION, config, state)

    async def handle(stream: trio.SocketStream) -> None:
        """Serve one connection, for as many requests as the client makes on it."""
        await Exchange(APPLICATION, config, context, state, stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        if lifespan.supported and lifespan.shutdown.is_set():
            await trio.sleep_forever()  # it has failed, which is about to end this nursery
        yield handle
        await lifespan.wait_for_shutdown()
        nursery.cancel_scope.cancel()
