"""Any ASGI application on trio: hypercorn serves each connection, the pool decides where.

hypercorn speaks HTTP/1.1, HTTP/2 (by prior knowledge), WebSocket and ASGI. It has no public way to serve one connection
that somebody else has accepted: ``TCPServer``, ``WorkerContext`` and ``Lifespan`` are internal to it. So its version is
pinned, and a test of this example goes through all that is used.

``APP`` names the application, ``asgi_app:application`` if it is not set.
"""

from __future__ import annotations

import logging
import os

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


class Service:
    """One for each worker: the application's life, from its startup."""

    _service: Service | None = None

    def __init__(self) -> None:
        self.config = Config()
        self.config.errorlog = logging.getLogger("asgi")  # its own would write each line a second time
        self.config.keep_alive_timeout = float(os.environ.get("KEEP_ALIVE", "5"))
        self.state: LifespanState = {}
        self.context = WorkerContext(None)
        self.lifespan = Lifespan(APPLICATION, self.config, self.state)
        self.started = trio.Event()

    @classmethod
    async def of_this_worker(cls) -> Service:
        """The one of this process, when the application has started. The first connection starts it."""
        if cls._service is None:
            cls._service = cls()
            trio.lowlevel.spawn_system_task(cls._service.lifespan.handle_lifespan)
            await cls._service.lifespan.wait_for_startup()
            cls._service.started.set()
        await cls._service.started.wait()
        return cls._service


async def handle(stream: trio.SocketStream) -> None:
    """Serve one connection, for as many requests as the client makes on it."""
    service = await Service.of_this_worker()
    await Exchange(APPLICATION, service.config, service.context, service.state, stream)
