"""The suite's own codec, written from the specification and from nothing else.

It shares no line with the core's, on purpose: two codecs that agree are evidence, one codec that agrees with itself is
none. The controls speak it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

FRAME_SIZE = 20
VERSION = 0x10

ACCEPT = 0x41
BUSY = 0x42
GONE = 0x47
IDLE = 0x49

FILLED, EMPTY, PEER, WORKER, SYSTEM, UNUSABLE = range(6)

_LAYOUT = struct.Struct(">BBBBIIII")


@dataclass(frozen=True)
class Frame:
    type: int
    reason: int = 0
    word1: int = 0
    word2: int = 0
    word3: int = 0
    word4: int = 0
    version: int = VERSION
    reserved: int = 0

    def pack(self) -> bytes:
        head = (self.version, self.type, self.reason, self.reserved)
        return _LAYOUT.pack(*head, self.word1, self.word2, self.word3, self.word4)


def unpack(octets: bytes) -> Frame:
    version, kind, reason, reserved, word1, word2, word3, word4 = _LAYOUT.unpack(octets)
    return Frame(kind, reason, word1, word2, word3, word4, version, reserved)


class Stream:
    """Octets in, whole frames out, however the stream was split or merged on its way."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, octets: bytes) -> list[Frame]:
        self._rest += octets
        whole = len(self._rest) - len(self._rest) % FRAME_SIZE
        frames = [unpack(self._rest[at : at + FRAME_SIZE]) for at in range(0, whole, FRAME_SIZE)]
        self._rest = self._rest[whole:]
        return frames


def accept(order: int, listener: int, maximum: int) -> Frame:
    return Frame(ACCEPT, word1=order, word2=listener, word3=maximum)


def busy(order: int, accepted: int, reason: int, held: int, capacity: int) -> Frame:
    return Frame(BUSY, reason, order, accepted, held, capacity)


def gone(held: int, capacity: int) -> Frame:
    return Frame(GONE, word3=held, word4=capacity)


def idle(capacity: int, hello: int = 0) -> Frame:
    return Frame(IDLE, word1=hello, word4=capacity)


def hello(lowest: int = VERSION, highest: int = VERSION, features: int = 0) -> int:
    return lowest << 24 | highest << 16 | features
