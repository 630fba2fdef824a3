"""A parent on ``selectors``, with forked workers or with programs.

The driver does the work (:mod:`backchannel_server.driver`); here are the loop that it needs, how that loop lets reports
wait, and how a worker is forked.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections.abc import Callable
from typing import Final

from backchannel import Parent, Scaling, Settings
from backchannel_server import platform
from backchannel_server.driver import SIGNALS, Driver, Start
from backchannel_server.exec_binding import Launcher, starter
from backchannel_server.fork_binding import Reasons, fork_worker
from backchannel_server.handlers import Handler
from backchannel_server.opening import Opened
from backchannel_server.place import Place
from backchannel_server.signals import INTERRUPTED, WakeUp
from backchannel_server.traditional import Traditional

from .forked import work

__all__ = ["Batching", "Pool", "SelectorLoop"]

log = logging.getLogger("backchannel")


class SelectorLoop:
    """The loop: a selector of ``poller``, and the monotonic clock. See :class:`backchannel_server.loops.Loop`."""

    def __init__(self, poller: str = "auto") -> None:
        self.selector = platform.selector_class(poller)()

    def watch(self, what: socket.socket | int, ready: Callable[[], object], *, writing: bool = False) -> None:
        """Call ``ready`` when it can be read, or written."""
        self.selector.register(what, selectors.EVENT_WRITE if writing else selectors.EVENT_READ, ready)

    def unwatch(self, what: socket.socket | int) -> None:
        """Watch it no more."""
        self.selector.unregister(what)

    def time(self) -> float:
        """Seconds."""
        return time.monotonic()

    def wait(self, timeout: float | None) -> None:
        """Sleep until there is news, and tell whom it concerns."""
        for key, _mask in self.selector.select(timeout):
            key.data()


class Batching:
    """Lets reports wait, for a moment, for the next arrival.

    After an order the next arrival is what matters, as a rule, and reports can wait for it: then only arrivals wake the
    parent, for a short while, and what was reported meanwhile is read together. That is one wake-up for each connection
    of a busy pool instead of three.
    """

    REPORTS_WAIT: Final = 0.001
    """Seconds that reports may wait while nothing needs them; the shortest that every poller can wait."""

    SINGLE_READS: Final = 16
    """How often in a row an arrival is answered with a look at one channel instead of all."""

    def __init__(self, driver: Driver, loop: SelectorLoop) -> None:
        self._driver = driver
        self._loop = loop
        self._single_reads = 0

    def wait(self) -> bool:
        """Wait for arrivals alone, if they are what matters; ``False`` if they are not, or if none came."""
        driver = self._driver
        watch = driver.arrivals.watch
        if watch is None or not watch.edges or not driver.core.reports_can_wait:
            return False
        watch.sleep(self.REPORTS_WAIT)
        driver.wakeups += 1
        if not driver.arrivals.news:
            return False
        self._single_reads = (self._single_reads + 1) % self.SINGLE_READS
        if driver.core.in_flight > 1 or not self._single_reads:
            self._loop.wait(0)
        else:
            # what there is to read is, as a rule, the answer to the one unanswered order: nobody else is asked, but
            # not for ever
            driver.channels.read(driver.channels.last_ordered)
        return True


class Pool:
    """A parent and its workers. ``find_handler`` is called in each worker, and returns one that fits its capacity;
    or ``launcher`` starts them. ``kept`` names what of the handler's code this process itself has loaded, and ``place``
    where the rest is loaded from.
    """

    def __init__(
        self,
        find_handler: Callable[[], Handler] | None,
        opened: Opened,
        settings: Settings,
        scaling: Scaling,
        *,
        quota: int = 0,
        poller: str = "auto",
        on_ready: Callable[[Pool], None] | None = None,
        launcher: Launcher | None = None,
        reload_at_once: bool = False,
        kept: str = "",
        traditional: bool = False,
        place: Place | None = None,
    ) -> None:
        self._find_handler = find_handler
        self._settings = settings
        self._quota = quota
        self._poller = poller
        self._on_ready = on_ready
        self._loop = SelectorLoop(poller)
        self._wake_up = WakeUp()
        self._reasons = Reasons()
        start: Start = self._fork
        if launcher is not None:
            start = starter(launcher, settings, opened.listeners.sockets)
        self.driver = Driver(
            self._loop,
            start,
            opened,
            settings,
            scaling,
            reload_at_once=reload_at_once,
            place=place,
            kept=kept,
            on_ready=self._is_ready,
            reasons=self._reasons.take,
            edges=platform.has_edges(self._loop.selector),
            core=Traditional if traditional else Parent,
        )
        self._batching = Batching(self.driver, self._loop)
        self._loop.watch(self._wake_up.reader, self._signalled)

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return list(self.driver.names)

    def document(self) -> dict[str, object]:
        """The status document of the adapter contract."""
        return self.driver.document()

    def run(self) -> int:
        """Serve until a signal ends it. Returns the exit status.

        Raises :class:`~backchannel_server.errors.StartError` when the system refuses what it needs.
        """
        driver = self.driver
        with self._wake_up.catching(SIGNALS):
            try:
                driver.begin()
                while not driver.over:
                    self._wait()
                    driver.turn()
                if driver.failure is not None:
                    log.error("%s", driver.failure)
                    return driver.failure.status
                return INTERRUPTED if driver.interrupted else 0
            finally:
                driver.close()
                self._loop.selector.close()
                self._reasons.close()
                self._wake_up.close()

    def _wait(self) -> None:
        if self._batching.wait():
            return
        when = self.driver.next_turn()
        self._loop.wait(None if when is None else platform.seconds_until(when))
        self.driver.wakeups += 1

    def _signalled(self) -> None:
        for number in self._wake_up.take():
            self.driver.obey(number)

    def _is_ready(self) -> None:
        if self._on_ready is not None:
            self._on_ready(self)

    # ------------------------------------------------------------------------------------ workers

    def _fork(self, slot: int, ours: socket.socket, theirs: socket.socket) -> int:
        """Start a worker by the fork binding; return its process id. Raises ``OSError``."""
        find, listeners = self._find_handler, self.driver.opened.listeners.sockets
        assert find is not None
        self._reasons.generation = self.driver.core.generation

        def child() -> int:
            ours.close()
            self._forget()
            return work(
                slot,
                theirs,
                listeners,
                find,
                self._settings,
                self._quota,
                self._poller,
                self._reasons,
                traditional=not self.driver.core.watches,
            )

        return fork_worker(child)

    def _forget(self) -> None:
        """In a new worker: let go of all that is the parent's alone, the loop's poller and wake-up included."""
        self.driver.forget()
        platform.forget(self._loop.selector)
        self._wake_up.close()
