"""In which order, in which pieces and how late a parent reads: what stubs write one after another may be read at once,
in any order of channels, and each channel in any pieces (BC-CHAN-04, BC-CHAN-09, BC-DEATH-04).
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from typing import Any

from backchannel_server.channels import Channels
from backchannel_server.driver import Driver
from backchannel_sync.parent import Batching, SelectorLoop

from . import allowed, put

PILE_UP = 0.01
"""Seconds in which news piles up, as on a machine where others run first."""
TURN = 0.05
"""Seconds between two looks at the dead."""


def in_order(order: Callable[[list[Any]], list[Any]]) -> None:
    """A parent that is slow to run: it finds all that was written meanwhile, and reads it in ``order``."""

    def wait(self: SelectorLoop, timeout: float | None) -> None:
        if self.selector.select(timeout):
            time.sleep(PILE_UP)
            for key, _mask in order(self.selector.select(0)):
                key.data()

    put(SelectorLoop, "wait", wait)
    put(Batching, "wait", lambda self: False)


@allowed("BC-CHAN-09", roles=["parent", "pool"])
def channels_in_reverse() -> None:
    in_order(lambda keys: keys[::-1])


@allowed("BC-CHAN-09", roles=["parent", "pool"])
def channels_by_slot() -> None:
    in_order(lambda keys: sorted(keys, key=lambda found: found[0].fd))


@allowed("BC-CHAN-09", roles=["parent", "pool"])
def channels_in_random_order() -> None:
    in_order(lambda keys: random.sample(keys, len(keys)))


def in_pieces(size: int) -> None:
    """Each channel is read until it would block or its share is taken, with calls for ``size`` octets."""
    once = Channels._read

    def _read(self: Channels, slot: int, channel: Any, limit: int | None = None) -> int:
        left = share = limit or self._core.octets_per_turn
        while left and (taken := once(self, slot, channel, min(size, left))):
            left -= taken
        return share - left

    put(Channels, "_read", _read)


@allowed("BC-CHAN-04", roles=["parent"])
def one_octet_for_each_call() -> None:
    in_pieces(1)


@allowed("BC-CHAN-04", roles=["parent"])
def seven_octets_for_each_call() -> None:
    in_pieces(7)


@allowed("BC-PASS-02", roles=["parent", "pool"])
def each_channel_to_its_end() -> None:
    """The end of a channel is seen in the same pass as what was written before it."""
    in_pieces(1 << 16)


@allowed("BC-CHAN-09", roles=["parent"])
def one_frame_of_each_channel_in_turn() -> None:
    in_order(lambda keys: keys)
    piled_up, once = SelectorLoop.wait, Channels._read

    def wait(self: SelectorLoop, timeout: float | None) -> None:
        piled_up(self, timeout)
        for _ in range(63):  # frames_per_turn in all
            ready = self.selector.select(0)
            if not ready:
                break
            for key, _mask in ready:
                key.data()

    def _read(self: Channels, slot: int, channel: Any, limit: int | None = None) -> int:
        return once(self, slot, channel, limit or 20)

    put(SelectorLoop, "wait", wait)
    put(Channels, "_read", _read)


def reaped(driver: Driver) -> None:
    """The dead, without a word of why they died."""
    for _ in driver.channels.reap([driver.handover.successor_pid] if driver.handover.successor_pid else []):
        pass


@allowed("BC-DEATH-04", roles=["parent", "pool"])
def the_dead_before_the_living() -> None:
    """At each wake-up it looks for the dead first, and then reads what others have written."""
    drivers: list[Driver] = []
    begin = Driver.begin

    def begun(self: Driver) -> None:
        drivers.append(self)
        begin(self)

    def wait(self: SelectorLoop, timeout: float | None) -> None:
        if self.selector.select(timeout):
            reaped(drivers[0])
            for key, _mask in self.selector.select(0):
                key.data()

    put(Driver, "begin", begun)
    put(SelectorLoop, "wait", wait)
    put(Batching, "wait", lambda self: False)


@allowed("BC-DEATH-04", roles=["parent"])
def the_dead_by_the_clock() -> None:
    """It does not catch SIGCHLD: it looks for the dead whenever it wakes, and wakes for that when nothing else is."""
    next_turn, turn = Driver.next_turn, Driver.turn

    def looked(self: Driver) -> None:
        self._reap = True
        turn(self)

    def soon(self: Driver) -> float:
        when, look = next_turn(self), self._loop.time() + TURN
        return look if when is None else min(when, look)

    put(Driver, "turn", looked)
    put(Driver, "next_turn", soon)
    obey = Driver.obey
    put(Driver, "obey", lambda self, number: None if number == signal.SIGCHLD else obey(self, number))
