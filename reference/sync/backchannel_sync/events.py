"""The event-based worker: many connections, one thread, handlers that are generators.

A handler is a generator function of one :class:`Connection`. Where it would wait it says ``yield from``, and the
worker turns to others::

    def echo(connection):
        while data := (yield from connection.recv(4096, until_drain=True)):
            yield from connection.sendall(data)

Generators rather than callbacks, because the code then reads in the order in which it runs: a loop is a loop,
``finally`` is ``finally``, a traceback shows where the handler was, and a connection that is torn down unwinds its
handler. They need nothing but the language, and hide nothing: what a handler yields is a :class:`Wait`.

The worker watches its channel and its connections, never a listener (BC-WORK-01). Reports are made once for each turn
of the loop, after everything that could be done in it was done (BC-STATUS-03).
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import math
import selectors
import socket
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

from backchannel import Violation, WorkerSide
from backchannel_server.accepting import attempt
from backchannel_server.clients import claim, close, stands_for, tell
from backchannel_server.context import is_brief, is_draining, keep_from_children, leave_if_forked, tell_of_drain
from backchannel_server.platform import seconds_until, selector_class
from backchannel_server.worker_channel import read, write_outgoing

__all__ = ["Connection", "EventHandler", "Wait", "Waiting", "run"]

log = logging.getLogger("backchannel.worker")

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Wait(NamedTuple):
    """What a handler waits for: its socket (``READ`` or ``WRITE``), ``until`` a monotonic time, or, if ``drain`` is
    true, the beginning of the drain, whichever comes first.
    """

    events: int
    until: float | None = None
    drain: bool = False


Waiting = Generator[Wait, None, None]
"""What a handler that returns nothing is, for annotations."""


class Connection:
    """One accepted connection. ``socket`` does not block."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted

    def recv(self, count: int, *, until_drain: bool = False) -> Generator[Wait, None, bytes]:
        """At most ``count`` octets; none at end-of-file. Raises ``OSError`` as ``socket.recv`` does.

        ``until_drain``: none, too, once the drain has begun and nothing is there to be read. For where the client owes
        nothing, as between two requests: what it has sent is still served, and an idle connection ends.
        """
        while True:
            try:
                return self.socket.recv(count)
            except BlockingIOError:
                if until_drain and is_draining():
                    return b""
                yield Wait(READ, drain=until_drain)

    def sendall(self, data: bytes) -> Waiting:
        """Write all of ``data``. Raises ``OSError`` as ``socket.send`` does."""
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                yield Wait(WRITE)

    def sleep(self, seconds: float) -> Waiting:
        """Let others run for ``seconds``."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            yield Wait(0, until)


EventHandler = Callable[[Connection], Generator[Wait, None, object]]
"""Serves one connection; the worker closes it when the generator ends."""


class _Task:
    """One connection and the generator that serves it."""

    __slots__ = ("accepted", "address", "connection", "ended", "events", "steps", "waits", "watched")

    def __init__(self, accepted: socket.socket, address: object) -> None:
        self.accepted = claim(accepted)
        self.address = address
        self.connection = Connection(self.accepted)
        self.steps: Generator[Wait, None, object] | None = None
        """What the handler has made of it; until it runs, nothing."""
        self.ended = False
        self.watched: socket.socket = self.accepted
        """What the selector knows: a handler may put TLS in the place of its socket."""
        self.events = 0
        self.waits = 0  # counts them, so that a timer of an earlier one is known to be stale


class _Worker:
    """The loop."""

    def __init__(
        self,
        channel: socket.socket,
        listeners: Sequence[socket.socket],
        handler: EventHandler,
        capacity: int,
        drain_deadline: float,
        quota: int,
        poller: str,
    ) -> None:
        self.side = WorkerSide(capacity, len(listeners), responsive=True)
        self.channel = channel
        self.listeners = list(listeners)
        self.handler = handler
        self.drain_deadline = drain_deadline
        self.quota = quota
        self.folds = is_brief(handler)
        self.served = 0
        self.ended = 0  # connections that have ended and were not told to the side yet
        self.selector = selector_class(poller)()
        self.timers: list[tuple[float, int, int, _Task]] = []
        self.until_drain: set[_Task] = set()
        self.count = 0
        self.give_up: float | None = None
        self.channel_events = 0

    def run(self) -> int:
        tell_of_drain(lambda: self.side.draining)
        keep_from_children(self.channel, *self.listeners)
        self.channel.setblocking(False)
        self.side.hello()
        self.flush()
        while not self.side.finished:
            for key, mask in self.selector.select(self.timeout()):
                if key.data is not None:
                    self.step(key.data)
                elif mask & READ:
                    self.channel_ready()
            now = time.monotonic()
            for task in self.due(now):
                self.step(task)
            if self.ended:
                self.side.ended(self.take_ended())
            self.flush()
            if self.give_up is not None and now >= self.give_up:
                log.warning("%d connections still open at the drain deadline: leaving them", self.side.open)
                break
        return self.side.exit_status

    def due(self, now: float) -> list[_Task]:
        """Those whose time has come, of now: one that waits for no time at all shall not keep us here."""
        due = []
        while self.timers and self.timers[0][0] <= now:
            _, _, waits, task = heapq.heappop(self.timers)
            if waits == task.waits:
                due.append(task)
        return due

    def timeout(self) -> float | None:
        times = [self.timers[0][0]] if self.timers else []
        if self.give_up is not None:
            times.append(self.give_up)
        return seconds_until(min(times)) if times else None

    # ------------------------------------------------------------------------------------ channel

    def channel_ready(self) -> None:
        data = read(self.channel)
        if data is None:
            return
        try:
            orders = self.side.receive(data) if data else []
        except Violation as violation:
            log.error("the parent broke the protocol (%s)", violation)
            orders = []
        fresh: list[tuple[socket.socket, Any]] = []
        for order in orders:
            connections, reason = attempt(self.listeners, order)
            self.served += len(connections)
            if self.folds:
                self.begin(connections)
            else:
                fresh += connections
            self.side.answer(order, len(connections), reason, ended=self.take_ended())
        if orders:
            self.flush()  # before any service that is not brief (BC-BUSY-02, BC-BUSY-05)
        self.begin(fresh)
        if self.quota and self.served >= self.quota:
            self.side.retire()
        if not data:
            self.side.eof()
        if self.side.draining:
            self.drain()

    def drain(self) -> None:
        """No more orders: close the listeners, stop reading the channel, let a deadline run, and tell handlers."""
        for listener in self.listeners:
            listener.close()
        self.give_up = time.monotonic() + self.drain_deadline
        self.watch_channel(0)
        for task in list(self.until_drain):
            self.step(task)

    def flush(self) -> None:
        """Write what there is to say; what the channel does not take is made up anew when it does."""
        blocked = not write_outgoing(self.side, self.channel)
        self.watch_channel((0 if self.side.draining else READ) | (WRITE if blocked else 0))

    def watch_channel(self, events: int) -> None:
        if events != self.channel_events:
            _watch(self.selector, self.channel, self.channel_events, events, None)
            self.channel_events = events

    # -------------------------------------------------------------------------------- connections

    def begin(self, fresh: Sequence[tuple[socket.socket, Any]]) -> None:
        for accepted, address in fresh:
            accepted.setblocking(False)
            self.step(_Task(accepted, address))

    def step(self, task: _Task) -> None:
        """Run a handler until it waits or ends. Whatever it raises ends its connection and nothing else (BC-WORK-07).
        A wait that makes no sense is raised in the handler, where it stands.
        """
        if task.ended:
            return  # earlier in this turn, by the drain
        task.waits += 1
        self.until_drain.discard(task)
        wrong: Exception | None = None
        try:
            if task.steps is None:
                task.steps = self.handler(task.connection)
            while True:
                wait = task.steps.throw(wrong) if wrong else next(task.steps)
                try:
                    self.wait_for(task, wait)
                    break
                except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
                    if wrong:
                        raise error from wrong  # it catches what it is told, and would keep us here
                    wrong = error
        except StopIteration:
            leave_if_forked()
            self.end(task)
        except BaseException as error:
            tell(error, task.address, stands_for(task.connection, task.connection.socket, task.accepted))
            self.end(task)

    def wait_for(self, task: _Task, wait: Wait) -> None:
        """Watch what ``wait`` says. Raises an error of its author's when that cannot be watched."""
        leave_if_forked()
        if not isinstance(wait, Wait):
            raise TypeError(f"a handler must yield Wait, not {wait!r}: is a 'yield from' missing?")
        sock, until = task.connection.socket, math.inf if wait.until is None else float(wait.until)
        if math.isnan(until) or not (wait.events or wait.drain or until < math.inf):
            raise ValueError("a handler waits for nothing, so it would wait for ever")
        if sock is not task.watched or sock.fileno() < 0:
            self.forget(task)
        if wait.events != task.events:
            old, task.events = task.events, 0
            _watch(self.selector, sock, old, wait.events, task)
            task.events, task.watched = wait.events, sock
        if wait.drain and self.side.draining:
            until = time.monotonic()
        elif wait.drain:
            self.until_drain.add(task)
        if until < math.inf:
            self.count += 1
            heapq.heappush(self.timers, (until, self.count, task.waits, task))

    def forget(self, task: _Task) -> None:
        """No longer watch the socket of ``task``, which may be closed, or another's by now."""
        if task.events:
            task.events = 0
            with contextlib.suppress(KeyError, ValueError):
                self.selector.unregister(task.watched)

    def end(self, task: _Task) -> None:
        self.forget(task)
        task.ended, in_place = True, task.connection.socket
        if in_place is not task.accepted and isinstance(in_place, socket.socket):
            close(in_place)  # TLS, say, that its handler has put there
        close(task.accepted)
        self.ended += 1

    def take_ended(self) -> int:
        ended, self.ended = self.ended, 0
        return ended


def _watch(selector: selectors.BaseSelector, sock: socket.socket, old: int, new: int, data: object) -> None:
    if not old:
        selector.register(sock, new, data)
    elif not new:
        selector.unregister(sock)
    else:
        selector.modify(sock, new, data)


def run(
    channel: socket.socket,
    listeners: Sequence[socket.socket],
    handler: EventHandler,
    *,
    capacity: int,
    drain_deadline: float,
    quota: int = 0,
    poller: str = "auto",
) -> int:
    """Work until the channel has ended and all connections have, or ``drain_deadline`` seconds after its end.

    Returns the exit status. ``quota``: retire after so many connections; 0: never. ``poller``: one of
    :data:`~backchannel_server.platform.POLLERS`, or ``auto``.
    """
    return _Worker(channel, listeners, handler, capacity, drain_deadline, quota, poller).run()
