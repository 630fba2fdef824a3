"""The suite's own codec: the twenty octets of a frame, as the specification's table gives them.

It is written from ``spec/1.0/channel.rst`` and shares nothing with any implementation. It builds anything, valid or
not: most of what the suite sends on purpose is wrong.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = [
    "ACCEPT",
    "BUSY",
    "EMPTY",
    "FILLED",
    "GONE",
    "IDLE",
    "PEER",
    "SIZE",
    "SYSTEM",
    "UNUSABLE",
    "VERSION",
    "WORKER",
    "Frame",
    "accept",
    "busy",
    "flood",
    "gone",
    "hello",
    "idle",
]

LAYOUT = struct.Struct("!BBBBIIII")
SIZE = LAYOUT.size
VERSION = 0x10
ACCEPT, BUSY, GONE, IDLE = 0x41, 0x42, 0x47, 0x49
FILLED, EMPTY, PEER, WORKER, SYSTEM, UNUSABLE = range(6)
REASONS = ("FILLED", "EMPTY", "PEER", "WORKER", "SYSTEM", "UNUSABLE")
NAMES = {ACCEPT: "ACCEPT", BUSY: "BUSY", GONE: "GONE", IDLE: "IDLE"}


class Frame(NamedTuple):
    """One frame. The words have the names that ``BUSY`` gives them; ``ACCEPT`` calls two of them otherwise."""

    version: int
    type: int
    reason: int
    reserved: int
    order: int
    accepted: int
    open: int
    capacity: int

    @property
    def octets(self) -> bytes:
        """As they go over the channel."""
        return LAYOUT.pack(*self)

    @property
    def listener(self) -> int:
        """Of an ``ACCEPT``."""
        return self.accepted

    @property
    def max(self) -> int:
        """Of an ``ACCEPT``."""
        return self.open

    @classmethod
    def parse(cls, octets: bytes) -> Frame:
        """Twenty octets, whatever they say."""
        return cls(*LAYOUT.unpack(octets))

    def __str__(self) -> str:
        name = NAMES.get(self.type, f"type {self.type:#04x}")
        if self.type == ACCEPT:
            return f"ACCEPT order={self.order} listener={self.listener} max={self.max}"
        if self.type == BUSY:
            reason = REASONS[self.reason] if self.reason < len(REASONS) else self.reason
            return (
                f"BUSY order={self.order} accepted={self.accepted} reason={reason} "
                f"open={self.open} capacity={self.capacity}"
            )
        return f"{name} open={self.open} capacity={self.capacity} ({self.octets.hex()})"

    def __repr__(self) -> str:
        return str(self)  # in lists, too


def accept(order: int, max: int, listener: int = 0) -> Frame:
    """``ACCEPT``."""
    return Frame(VERSION, ACCEPT, 0, 0, order, listener, max, 0)


def busy(order: int, accepted: int, reason: int, open: int, capacity: int) -> Frame:
    """``BUSY``."""
    return Frame(VERSION, BUSY, reason, 0, order, accepted, open, capacity)


def gone(open: int, capacity: int) -> Frame:
    """``GONE``."""
    return Frame(VERSION, GONE, 0, 0, 0, 0, open, capacity)


def idle(capacity: int) -> Frame:
    """``IDLE``, but for the first one."""
    return Frame(VERSION, IDLE, 0, 0, 0, 0, 0, capacity)


def flood(count: int = 200) -> bytes:
    """``IDLE`` frames that a worker may write again and again: the capacity is another one in each."""
    return b"".join(idle(4 - at % 2).octets for at in range(count))


def hello(capacity: int = 1, lowest: int = VERSION, highest: int = VERSION, features: int = 0) -> Frame:
    """The first ``IDLE``."""
    return Frame(lowest, IDLE, 0, 0, lowest << 24 | highest << 16 | features, 0, 0, capacity)
