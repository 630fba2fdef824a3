"""A worker on asyncio, for any parent: the core under a loop that knows nothing of it.

    python asyncio_worker.py MODULE:HANDLER

A handler is ``async def handle(reader, writer)``, as for :func:`asyncio.start_server`. What is here would be the same
under any other loop: read the channel when it can be read, attempt what is ordered, say what came of it, and say when
a connection has ended. The listeners are not watched; that is the point of it all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence

from backchannel import CONFIGURATION, ExecStart, Violation, WorkerSide
from backchannel_sync import StartError, WorkerInfo
from backchannel_sync.accepting import attempt
from backchannel_sync.context import enter
from backchannel_sync.handlers import load_to_serve
from backchannel_sync.signals import leave_to_the_parent
from backchannel_sync.worker import inherit

log = logging.getLogger("worker")

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Worker:
    """The core's side of the channel, and what it needs of the loop."""

    def __init__(
        self, start: ExecStart, channel: socket.socket, listeners: Sequence[socket.socket], handler: Handler
    ) -> None:
        self.side = WorkerSide(start.capacity, len(listeners), responsive=True)
        self.channel, self.listeners, self.handler = channel, listeners, handler
        self.patience = start.drain_deadline
        self.connections: set[asyncio.Task[None]] = set()
        self.drained = asyncio.Event()

    async def run(self) -> int:
        """Work until the channel ends and the connections have; return the exit status."""
        loop = asyncio.get_running_loop()
        self.channel.setblocking(False)
        self.side.hello()
        self.flush()
        loop.add_reader(self.channel, self.read)
        await self.drained.wait()
        loop.remove_reader(self.channel)
        for listener in self.listeners:
            listener.close()  # who keeps them keeps the port
        if self.connections:
            _, late = await asyncio.wait(self.connections, timeout=self.patience)
            for task in late:
                task.cancel()
        self.flush()
        return self.side.exit_status

    def read(self) -> None:
        """The channel can be read: orders, or its end."""
        try:
            data = self.channel.recv(4096)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if data:
            self.obey(data)
        else:
            self.side.eof()
        if self.side.draining:
            self.drained.set()

    def obey(self, data: bytes) -> None:
        """Accept what is ordered. The answer leaves before anything of it is served: tasks begin in the next turn."""
        try:
            orders = self.side.receive(data)
        except Violation as violation:
            log.error("the parent broke the protocol (%s)", violation)
            return
        for order in orders:
            taken, reason = attempt(self.listeners, order)
            self.side.answer(order, len(taken), reason)
            for connection in taken:
                task = asyncio.create_task(self.serve(connection))
                self.connections.add(task)
                task.add_done_callback(self.connections.discard)
        self.flush()

    async def serve(self, connection: socket.socket) -> None:
        """One connection, from its acceptance to its end."""
        try:
            connection.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=connection)
            try:
                await self.handler(reader, writer)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()  # closed first, then reported
        except Exception:
            log.exception("a handler failed; its connection is closed, the worker goes on")
        finally:
            connection.close()
            self.side.ended()
            self.flush()

    def flush(self) -> None:
        """Write what is owed. What the channel does not take is made up anew when it does."""
        loop = asyncio.get_running_loop()
        loop.remove_writer(self.channel)
        while data := self.side.outgoing():
            try:
                self.side.sent(self.channel.send(data))
            except BlockingIOError:
                loop.add_writer(self.channel, self.flush)
                return
            except (BrokenPipeError, ConnectionResetError):
                self.side.parent_gone()


def main() -> int:
    """Be a worker; return the exit status."""
    if len(sys.argv) != 2:
        print("usage: python asyncio_worker.py MODULE:HANDLER, as the worker of a parent", file=sys.stderr)
        return CONFIGURATION
    leave_to_the_parent()
    logging.basicConfig(format="%(asctime)s %(process)d %(levelname)s %(message)s")
    try:
        start, channel, listeners = inherit()
        enter(WorkerInfo(start.slot, start.capacity))  # for current_worker()
        handler: Handler = load_to_serve(sys.argv[1])
    except StartError as error:
        print(f"asyncio_worker: {error}", file=sys.stderr)
        return CONFIGURATION  # the parent does not try again in a loop, and a reload keeps the old workers

    async def work() -> int:
        return await Worker(start, channel, listeners, handler).run()

    return asyncio.run(work())


if __name__ == "__main__":
    raise SystemExit(main())
