"""Parent replacement, seen from both parents: a successor is started and takes over, or this one is the successor.

The old parent serves until its successor says on the baton that it is ready, gives no more orders, and closes the
baton when the last order has ended. The new one watches nothing before it has read that end (BC-BATON-01 to -03). How a
successor inherits the listeners is in :mod:`.successor`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable

from backchannel import Parent

from .arrivals import Arrivals
from .loops import Loop
from .opening import Opened
from .place import Place
from .successor import READY, Successor
from .worker_channel import read

__all__ = ["Handover"]

log = logging.getLogger("backchannel")


class Handover:
    """The baton. ``own`` is called when the listeners are this parent's; ``place`` is where a successor starts."""

    def __init__(
        self,
        core: Parent,
        loop: Loop,
        opened: Opened,
        arrivals: Arrivals,
        own: Callable[[], None],
        place: Place | None = None,
    ) -> None:
        self._core = core
        self._loop = loop
        self._opened = opened
        self._arrivals = arrivals
        self._own = own
        self._place = place
        self._successor: Successor | None = None
        self._waits = False
        """For the end of the old parent's baton."""
        self._yielding = False
        """The successor has said that it is ready, and the next pass hands over."""

    @property
    def successor_pid(self) -> int | None:
        """The process id of the parent that is to replace this one."""
        return self._successor.pid if self._successor else None

    # ----------------------------------------------------------------------------- as the successor

    def begin(self) -> None:
        """Own the listeners, or wait for the end of the baton. Raises ``OSError``."""
        if self._opened.baton is None:
            self._own()
        else:
            self._waits = True
            self._loop.watch(self._opened.baton, self._old_parent_speaks)

    def say_ready(self) -> None:
        """To the old parent, if there is one: the workers are ready."""
        if self._opened.baton is not None:
            with contextlib.suppress(OSError):  # it has died, and then there is an end-of-file as well
                self._opened.baton.send(READY)

    def _old_parent_speaks(self) -> None:
        """Of all that can be heard there, only the end says anything: it gives no more orders."""
        baton = self._opened.baton
        if not self._waits or baton is None or read(baton) != b"":
            return
        self._waits = False
        self._loop.unwatch(baton)
        if self._core.take_over():  # not if it was stopped meanwhile: its listeners are closed then
            self._opened.take_over()
            self._own()

    # ---------------------------------------------------------------------------- as the old parent

    def start(self) -> None:
        """Start a successor; when it is ready it says so on the baton (BC-BATON-03)."""
        if self._successor is not None or not self._core.may_replace:
            state = "one starts" if self._successor else self._core.state.value
            log.warning("SIGUSR2: no replacement while %s", state)
            return
        if os.getpid() == 1:
            log.error("SIGUSR2: this is process 1, and its end would be the container's: start a new container instead")
            return
        opened, workers = self._opened, len(self._core.workers)
        try:
            successor = Successor.start(opened.listeners, opened.status, opened.notifier, workers, self._place)
        except OSError as error:
            log.error("SIGUSR2: cannot start a successor: %s", error)
            return
        log.info("successor %d starts", successor.pid, extra={"event": "successor", "successor": successor.pid})
        self._successor = successor
        self._loop.watch(successor.baton, self._successor_speaks)

    def _successor_speaks(self) -> None:
        successor = self._successor
        if successor is None:
            return  # abandoned earlier in this turn
        said = read(successor.baton)
        if said is None:
            return
        if said:
            if READY in said and not successor.ready:
                log.info("successor %d is ready: handing over", successor.pid)
                successor.ready = self._yielding = True
            return
        if self._core.stopping:
            log.info("successor %d has ended", successor.pid)
        else:
            log.error("successor %d ended before it had taken over: this parent carries on", successor.pid)
        self.abandon()

    def go_on(self) -> None:
        """Hand over, if the successor is ready. In a pass, and not where it is heard: the listeners may have news in
        the same turn.
        """
        if not self._yielding:
            return
        self._yielding = False
        if self._successor is not None and self._core.hand_over():
            self._arrivals.stop()
            self._opened.notifier.main_pid(self._successor.pid)

    def tell(self, number: int) -> None:
        """Send the successor, if there is one, a signal."""
        if self._successor is not None:
            self._successor.tell(number)

    def abandon(self, number: int = 0) -> None:
        """The successor, if there is one, shall not be one (BC-BATON-03). ``number``: a signal to send to it."""
        if self._successor is None:
            return
        if number:
            self._successor.tell(number)
        self.drop()
        if self._core.keep():
            self.resume()

    def resume(self) -> None:
        """The listeners were not handed over after all: watch them again."""
        self._arrivals.start()
        self._opened.notifier.main_pid(os.getpid())

    def drop(self) -> None:
        """Close this end of the baton: what that says depends on whether the listeners were released before."""
        if self._successor is not None:
            self._loop.unwatch(self._successor.baton)
            self._successor.baton.close()
            self._successor = None

    # ------------------------------------------------------------------------------------- the end

    def forget(self) -> None:
        """In a worker: hold neither end (BC-BATON-04)."""
        for baton in (self._opened.baton, self._successor.baton if self._successor else None):
            if baton is not None:
                baton.close()
