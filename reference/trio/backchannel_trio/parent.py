"""A parent on trio: a nursery of small tasks around the driver.

The driver does the work (:mod:`backchannel_server.driver`). Each thing that it watches is a task, which waits for news,
carries it to the driver and says that a turn is due; one task makes the turns. A turn has no ``await`` in it, so every
turn sees, and leaves, the pool in one piece (BC-PASS-01), and cancellation can only come between two of them.

Nothing forks here. A worker is a program, started in a process of its own (:mod:`backchannel_server.exec_binding`), so
no worker begins as the copy of a running loop, and the pool may live in any trio program, with threads or without. A
spawner, forked before ``trio.run``, would start workers thirty times faster and in a fifth of the memory; why it is not
used is told, with the figures, in ``docs/trio.rst``.
"""

from __future__ import annotations

import math
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Final

import trio
from backchannel import Scaling, Settings
from backchannel_server.driver import Driver
from backchannel_server.errors import StartError
from backchannel_server.exec_binding import Launcher, starter
from backchannel_server.opening import Opened
from backchannel_server.place import Place
from backchannel_server.signals import heard

__all__ = ["Pool", "TrioLoop"]

UNWATCHED: Final = 0.1
"""Seconds between two looks at what the system has no room to watch."""


class TrioLoop:
    """A task in ``nursery`` for each thing that is watched. See :class:`backchannel_server.loops.Loop`.

    A task that waits for something gets ``ClosedResourceError`` when it is watched no more. But one that has been woken
    already gets nothing, and what it waited for may be closed, or its number be another's, when it has its turn: so
    each of them looks, after each wait, whether it is still the one that watches.
    """

    def __init__(self) -> None:
        self.due = trio.Event()
        """A turn is."""
        self.nursery: trio.Nursery | None = None
        self._watches: dict[int, object] = {}

    def watch(self, what: socket.socket | int, ready: Callable[[], object], *, writing: bool = False) -> None:
        """Call ``ready`` when it can be read, or written, and make a turn. Never raises ``OSError``: where the system
        has no room to watch it, ``ready`` is called now and then, and looks whether there is anything.
        """
        number = what if isinstance(what, int) else what.fileno()
        wait = trio.lowlevel.wait_writable if writing else trio.lowlevel.wait_readable
        mine = self._watches[number] = object()

        async def hear() -> None:
            with suppress(trio.ClosedResourceError):
                while self._watches.get(number) is mine:
                    try:
                        await wait(number)
                    except trio.ClosedResourceError:
                        raise
                    except OSError:
                        await trio.sleep(UNWATCHED)
                    if self._watches.get(number) is mine:
                        ready()
                        self.due.set()

        assert self.nursery is not None
        self.nursery.start_soon(hear)

    def unwatch(self, what: socket.socket | int) -> None:
        """Watch it no more."""
        number = what if isinstance(what, int) else what.fileno()
        del self._watches[number]
        trio.lowlevel.notify_closing(number)

    def time(self) -> float:
        """Seconds."""
        return trio.current_time()

    async def sleep(self, until: float | None) -> None:
        """Until a turn is due, or until then."""
        with trio.move_on_at(math.inf if until is None else until):
            await self.due.wait()
        self.due = trio.Event()


class Sleeps(trio.abc.Instrument):
    """Counts how often the program has gone to sleep, and so how often it woke."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def before_io_wait(self, timeout: float) -> None:
        """trio is about to wait for news; with nothing to run meanwhile if ``timeout`` is not 0."""
        if timeout:
            self._driver.wakeups += 1


class Pool:
    """A parent and its workers, which ``launcher`` starts. What is in ``opened`` is closed by whoever opened it.

    ``reload_at_once``: a reload changes all workers when all new ones are ready, instead of one by one. ``place`` is
    where a successor starts, and, as a rule, the workers. ``signals``: those to obey (:meth:`Driver.obey`).
    """

    def __init__(
        self,
        launcher: Launcher,
        opened: Opened,
        settings: Settings,
        scaling: Scaling,
        *,
        reload_at_once: bool = False,
        place: Place | None = None,
        signals: Sequence[signal.Signals] = (),
    ) -> None:
        self._signals = (signal.SIGCHLD, *signals)
        self._loop = TrioLoop()
        self._task_status: trio.TaskStatus[Pool] = trio.TASK_STATUS_IGNORED
        self.driver = Driver(
            self._loop,
            starter(launcher, settings, opened.listeners.sockets),
            opened,
            settings,
            scaling,
            reload_at_once=reload_at_once,
            place=place,
            on_ready=lambda: self._task_status.started(self),
        )

    # --------------------------------------------------------------------------- what one may ask

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return list(self.driver.names)

    def document(self) -> dict[str, object]:
        """The status document of the adapter contract."""
        return self.driver.document()

    def stop(self) -> None:
        """Serve what is pending, drain all workers, and end (BC-STOP-01). A successor that has not taken over ends."""
        self._obey(signal.SIGTERM)

    def reload(self) -> None:
        """Replace the workers by new ones, which load their code anew (BC-RELOAD-01)."""
        self._obey(signal.SIGHUP)

    def replace(self) -> None:
        """Start this program again as a successor, which takes over when its workers are ready (BC-BATON-03)."""
        self._obey(signal.SIGUSR2)

    def _obey(self, number: int) -> None:
        self.driver.obey(number)
        self._loop.due.set()

    # ---------------------------------------------------------------------------------- the tasks

    async def run(self, *, task_status: trio.TaskStatus[Pool] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`stop` has done its work, or SIGINT was obeyed. Raises :class:`StartError` when no worker
        can start.

        Tells ``task_status`` when the first workers are ready. When it is cancelled, all workers are killed.
        """
        driver, self._task_status = self.driver, task_status
        sleeps = Sleeps(driver)
        trio.lowlevel.add_instrument(sleeps)
        try:
            with trio.open_signal_receiver(*self._signals) as signals, heard(self._signals):
                async with trio.open_nursery() as self._loop.nursery:
                    try:
                        driver.begin()
                        self._loop.nursery.start_soon(self._hear, signals)
                        while not driver.over:
                            await self._loop.sleep(driver.next_turn())
                            driver.turn()
                    except StartError as error:
                        driver.failure = error  # raised below: what leaves a nursery is wrapped in a group
                    finally:
                        if not driver.core.finished:
                            driver.interrupt()  # a successor is not to outlive the program that is told to end
                        driver.close()
                    self._loop.nursery.cancel_scope.cancel()
        finally:
            trio.lowlevel.remove_instrument(sleeps)
        if driver.failure is not None:
            raise driver.failure

    async def _hear(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            self._obey(number)
