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
from typing import Any

from backchannel import CONFIGURATION, ExecStart, Violation, WorkerSide
from backchannel_server import StartError, WorkerInfo
from backchannel_server.accepting import attempt
from backchannel_server.clients import stands_for, tell
from backchannel_server.context import enter, keep_from_children, leave_if_forked, tell_of_drain
from backchannel_server.exec_worker import inherit
from backchannel_server.handlers import load_to_serve
from backchannel_server.leaving import end_within
from backchannel_server.signals import leave_to_the_parent
from backchannel_server.worker_channel import read, write_outgoing

log = logging.getLogger("worker")

UNWINDING = 1.0
"""Seconds that cancelled handlers have for their ``finally`` clauses, after the drain deadline."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Worker:
    """The core's side of the channel, and what it needs of the loop."""

    def __init__(
        self, start: ExecStart, channel: socket.socket, listeners: Sequence[socket.socket], handler: Handler
    ) -> None:
        self.side = WorkerSide(start.capacity, len(listeners), responsive=True)
        self.channel, self.listeners, self.handler = channel, listeners, handler
        self.timeout = start.drain_deadline
        self.connections: set[asyncio.Task[None]] = set()
        self.given_up: set[asyncio.Task[None]] = set()
        """Those that are cancelled at the end of the timeout, and not by themselves."""
        self.drained = asyncio.Event()
        tell_of_drain(self.drained.is_set, self.drained.wait)
        keep_from_children(channel, *listeners)

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
            _, self.given_up = await asyncio.wait(self.connections, timeout=self.timeout)
            for task in self.given_up:
                task.cancel()
            if self.given_up:
                end_within(UNWINDING, self.side.exit_status)
        self.flush()
        return self.side.exit_status

    def read(self) -> None:
        """The channel can be read: orders, or its end."""
        data = read(self.channel)
        if data is None:
            return
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
            for connection, address in taken:
                task = asyncio.create_task(self.serve(connection, address))
                self.connections.add(task)
                task.add_done_callback(self.connections.discard)
        self.flush()

    async def serve(self, connection: socket.socket, address: object) -> None:
        """One connection, from its acceptance to its end. Whatever the handler raises ends it alone."""
        try:
            connection.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=connection)
            try:
                await self.handler(reader, writer)
                leave_if_forked()
            except BaseException as error:
                if not (isinstance(error, asyncio.CancelledError) and asyncio.current_task() in self.given_up):
                    tell(error, address, stands_for(reader, writer))
            await self.close(writer)
        finally:
            connection.close()
            self.side.ended()
            self.flush()

    async def close(self, writer: asyncio.StreamWriter) -> None:
        """Closed first, then reported. The client sees the end even if a process that the handler forked goes on."""
        with contextlib.suppress(OSError):
            if writer.can_write_eof():
                writer.write_eof()
            writer.close()
            await writer.wait_closed()

    def flush(self) -> None:
        """Write what there is to say. What the channel does not take is made up anew when it does."""
        loop = asyncio.get_running_loop()
        loop.remove_writer(self.channel)
        if not write_outgoing(self.side, self.channel):
            loop.add_writer(self.channel, self.flush)


def main() -> int:
    """Be a worker; return the exit status."""
    if len(sys.argv) != 2:
        print("usage: python asyncio_worker.py MODULE:HANDLER, as the worker of a parent", file=sys.stderr)
        return CONFIGURATION
    leave_to_the_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s")
    try:
        start, channel, listeners = inherit()
        enter(WorkerInfo(start.slot, start.capacity))  # for current_worker()
        handler: Handler = load_to_serve(sys.argv[1])
    except StartError as error:
        print(f"asyncio_worker: {error}", file=sys.stderr)
        return CONFIGURATION  # the parent does not try again in a loop, and a reload keeps the old workers

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(report)
        work = loop.create_task(Worker(start, channel, listeners, handler).run())
        while not work.done():
            try:
                loop.run_until_complete(work)
            except BaseException as error:
                # SystemExit and KeyboardInterrupt leave the loop whichever task they end, as one that a handler has
                # made; RuntimeError says that a handler has stopped it
                leave_if_forked(error)
                if not work.done():
                    log.error("a handler's task failed; the worker goes on", exc_info=error)
        status = work.result()
        end_within(start.drain_deadline, status)  # what the loop still waits for, threads, exit functions
        return status


def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio tells of a client's connection is told to the handler as well: no need for a traceback here."""
    if not ("transport" in context and isinstance(context.get("exception"), OSError)):
        loop.default_exception_handler(context)


if __name__ == "__main__":
    raise SystemExit(main())
