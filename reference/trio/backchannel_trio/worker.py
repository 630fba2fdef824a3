"""The worker: ``python -m backchannel_trio.worker MODULE:HANDLER``, for a parent of any language.

One task reads the channel, one writes reports, and each connection is a task.

A handler is ``async def handler(stream)``, ``stream`` being a :class:`trio.SocketStream`, or comes from a service
(:mod:`backchannel_trio.handlers`). It may do whatever a trio program may: open nurseries, use timeouts, wait for other
things than its stream. When it returns or raises, its connection is closed; what it raises ends its connection and
nothing else (BC-WORK-07). That the drain has begun it learns from ``current_worker()``, which it may ask or await.

Nothing waits for a listener. trio has no way to wait for a shared one without the herd (it waits by EPOLLONESHOT,
which the kernel refuses together with EPOLLEXCLUSIVE), and here there is no need: an order says that a connection
is pending, so :func:`~backchannel_server.accepting.attempt` takes it without waiting, or finds that it has gone
(BC-WORK-01, BC-WORK-03).

The drain deadline is the deadline of the cancel scope that all connections live in: handlers that are still there are
cancelled, and may clean up (BC-DRAIN-05).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import trio
from backchannel import ExecStart, Violation, WorkerSide
from backchannel_server import exec_worker
from backchannel_server.accepting import attempt
from backchannel_server.clients import close, stands_for, tell
from backchannel_server.context import keep_from_children, leave_if_forked, tell_of_drain
from backchannel_server.worker_channel import read, write_outgoing

from .handlers import Handler, Service, find, living

__all__ = ["main", "run"]

log = logging.getLogger("backchannel.worker")

UNWINDING: Final = 1.0
"""Seconds that cancelled handlers have for their ``finally`` clauses, after the drain deadline."""


async def run(
    channel: socket.socket,
    listeners: Sequence[socket.socket],
    handler: Handler,
    *,
    capacity: int,
    drain_deadline: float,
    quota: int = 0,
) -> int:
    """Work until the channel has ended and all connections have, or ``drain_deadline`` seconds after its end.

    Returns the exit status. ``quota``: retire after so many connections; 0: never. Closes ``channel`` and
    ``listeners``.
    """
    worker = _Worker(channel, listeners, handler, capacity, quota)
    try:
        async with trio.open_nursery() as reports:
            reports.start_soon(worker.report)
            async with trio.open_nursery() as connections:
                await worker.obey(connections)
                worker.close_listeners()
                worker.drain.set()
                give_up = trio.current_time() + drain_deadline
                connections.cancel_scope.deadline = give_up
                trio.lowlevel.spawn_system_task(worker.leave_at, give_up + UNWINDING)
            if connections.cancel_scope.cancelled_caught:
                log.warning("connections were still open at the drain deadline: their handlers were cancelled")
            worker.flush()
            reports.cancel_scope.cancel()
    finally:
        worker.leaving.cancel()
        worker.close_listeners()
        channel.close()
    return worker.side.exit_status


class _Worker:
    """What the tasks share."""

    def __init__(
        self,
        channel: socket.socket,
        listeners: Sequence[socket.socket],
        handler: Handler,
        capacity: int,
        quota: int,
    ) -> None:
        self.side = WorkerSide(capacity, len(listeners), responsive=True)
        self.channel = channel
        self.listeners = listeners
        self.handler = handler
        self.quota = quota
        self.served = 0
        self.due = trio.lowlevel.ParkingLot()
        """Where :meth:`report` waits for something to report."""
        self.drain = trio.Event()
        """The drain has begun."""
        self.leaving = trio.CancelScope()
        """What :meth:`leave_at` waits in."""
        channel.setblocking(False)
        tell_of_drain(self.drain.is_set, self.drain.wait)
        keep_from_children(channel, *listeners)
        os.register_at_fork(after_in_child=_leave_at_the_first_wait)

    # ------------------------------------------------------------------------------------ channel

    async def obey(self, connections: trio.Nursery) -> None:
        """Greet the parent, and carry out its orders until the channel ends."""
        self.side.hello()
        self.flush()
        while not self.side.draining:
            await trio.lowlevel.wait_readable(self.channel)
            data = read(self.channel)
            if data is None:
                continue
            if data:
                self.carry_out(data, connections)
            else:
                self.side.eof()

    def carry_out(self, data: bytes, connections: trio.Nursery) -> None:
        """Accept what ``data`` orders, and answer before any of it is served (BC-BUSY-02)."""
        try:
            orders = self.side.receive(data)
        except Violation as violation:
            log.error("the parent broke the protocol (%s)", violation)
            return
        for order in orders:
            taken, reason = attempt(self.listeners, order)
            self.side.answer(order, len(taken), reason)
            self.served += len(taken)
            for accepted, address in taken:
                connections.start_soon(self.serve, accepted, address)
        if self.quota and self.served >= self.quota:
            self.side.retire()
        self.flush()

    async def report(self) -> None:
        """Write what there is to say, once a turn: what ends in one turn of trio's loop is told in one frame
        (BC-STATUS-03).
        """
        while True:
            await self.due.park()
            while not self.flush():
                await trio.lowlevel.wait_writable(self.channel)

    def flush(self) -> bool:
        """Write what there is to say, without waiting; ``False`` if the channel does not take it all.

        What it does not take is made up anew when it does, so the parent is never told old figures (BC-CHAN-08).
        """
        if write_outgoing(self.side, self.channel):
            return True
        self.due.unpark()
        return False

    # -------------------------------------------------------------------------------- connections

    async def serve(self, accepted: socket.socket, address: object) -> None:
        """One connection, from its acceptance to its end."""
        accepted.setblocking(False)  # some systems copy the listener's flags, some do not (BC-WORK-06)
        connection = trio.socket.from_stdlib_socket(accepted)
        stream = trio.SocketStream(connection)
        try:
            await self.handler(stream)
            leave_if_forked()
        except BaseException as error:
            cancelled, fault = _sort(error)
            if fault is not None:
                is_ours = stands_for(stream, connection)
                tell(fault, address, lambda thing: is_ours(thing) or _is_tls_on(stream, thing))
            if cancelled is not None:
                raise cancelled from None
        finally:
            close(connection)
            self.side.ended()
            self.due.unpark()

    # ------------------------------------------------------------------------------------ the end

    def close_listeners(self) -> None:
        """A drained worker that kept them would keep the port (BC-DRAIN-03)."""
        for listener in self.listeners:
            listener.close()

    async def leave_at(self, when: float) -> None:
        """Leave, whatever is still there: a handler may shield itself from being cancelled, but not for ever."""
        with self.leaving:
            await trio.sleep_until(when)
            log.error("handlers are still there %g s after they were cancelled: leaving them", UNWINDING)
            os._exit(self.side.exit_status)


class _Leave(trio.abc.Instrument):
    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """The handler waits, or has ended."""
        leave_if_forked()


def _leave_at_the_first_wait() -> None:
    """In a process that was just forked: where the handler waits, trio would go on with the other handlers, on
    connections and on an epoll set that are the worker's.
    """
    with contextlib.suppress(RuntimeError):  # forked by another thread: trio does not run here
        trio.lowlevel.add_instrument(_Leave())


def _sort(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What ``error`` has of the worker's own cancelling, and what is the handler's.

    A cancellation that comes while nothing has cancelled the worker is one that the handler has kept from a scope of
    its own, and its fault like any other.
    """
    if trio.current_effective_deadline() > -math.inf:
        return None, error
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    return (error, None) if isinstance(error, trio.Cancelled) else (None, error)


def _is_tls_on(stream: trio.SocketStream, thing: object) -> bool:
    return isinstance(thing, trio.SSLStream) and thing.transport_stream is stream


def main(arguments: Sequence[str] | None = None) -> int:
    """Be a worker; return the exit status."""
    handler = "an async function of a stream, or a service"
    return exec_worker.main("backchannel_trio.worker", "A trio worker", handler, _work, arguments)


def _work(name: str, start: ExecStart, channel: socket.socket, listeners: Sequence[socket.socket], quota: int) -> int:
    life = partial(living, find(name), name, start.drain_deadline)
    work = partial(run, channel, listeners, capacity=start.capacity, drain_deadline=start.drain_deadline, quota=quota)
    return trio.run(_live, life, work)


async def _live(life: Service, work: Callable[..., Awaitable[int]]) -> int:
    """Run the worker while its handler may be called."""
    async with life() as handler:
        return await work(handler=handler)


if __name__ == "__main__":
    raise SystemExit(main())
