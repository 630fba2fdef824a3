"""Traditional pre-forking beside the protocol: every idle worker blocks in ``accept``, and the kernel chooses.

The parent dispatches nothing and watches nothing, but sizes its pool by the same rules, reloads and drains by the same
machines. For that a worker says three things on its channel, one octet each: :data:`IDLE` when it is about to wait,
:data:`BUSY` when it has accepted, :data:`RETIRE` when it will accept no more. This is not the backchannel protocol,
and no part of its specification: it is what the protocol is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from backchannel.parent import Parent
from backchannel.slots import Worker
from backchannel.states import READING, ParentState, SlotEvent, SlotState

__all__ = ["BUSY", "IDLE", "RETIRE", "Traditional"]

IDLE: Final = b"I"
BUSY: Final = b"B"
RETIRE: Final = b"R"


class Traditional(Parent):
    """The parent of a traditional pool. Capacity is 1, and there is one listener.

    It is a :class:`~backchannel.parent.Parent` but for what workers say, for orders, of which there are none, and for
    what a worker that is STARTING may hold: it overrides these and nothing else.
    """

    watches = False
    message_size = 1

    def received(self, slot: int, data: bytes, now: float) -> None:
        """A worker has spoken."""
        worker = self.workers[slot]
        for at in range(len(data)):
            if worker.state in READING:
                self._said(worker, data[at : at + 1], now)

    def _said(self, worker: Worker, word: bytes, now: float) -> None:
        if word == IDLE:
            worker.open = 0
            if worker.state is SlotState.STARTING:
                # there is no welcome: that it waits for connections is its hello, and the answer to it
                worker.greeted, worker.capacity = True, 1
                self._lives.step(worker, SlotEvent.HELLO, now)
                self._lives.welcomed(worker, now)
        elif word == BUSY and not worker.open and worker.greeted:
            worker.open = 1
            worker.accepted += 1
            self.counters.accepted += 1
            self._sizing.served()
        elif word == RETIRE:
            if worker.state is SlotState.READY:
                self._lives.drain(worker, now)
        else:
            self._failures.violated(worker, f"said {word!r}, which means nothing here", now)
        self._dispatch.look_again()  # a stop waits until nothing is pending, and nothing else says that something went
        self._changed(worker)

    def _dismiss(self, worker: Worker, now: float) -> None:
        """It accepts without an order, and may have done so since it last spoke. SIGTERM ends it while it loads its
        code, and later lets it finish.
        """
        self._lives.drain(worker, now)

    def to_count(self) -> list[int]:
        """Only a stop has to know what is pending."""
        return super().to_count() if self.state is ParentState.STOPPING else []

    def watching(self, listener: int) -> bool:
        """Never: the kernel wakes the workers."""
        return False

    def unseen(self, listener: int) -> bool:
        """Never."""
        return False

    def dispatch(self, counts: Mapping[int, int]) -> None:
        """Order no worker; see whether a stop is over."""
        for listener, pending in counts.items():
            self.backlogs[listener].counted(pending)
        self._settle()
