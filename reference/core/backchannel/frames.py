"""Frames: 20 octets, four messages.

Every frame is a version, a type, a reason, a reserved octet and four 32-bit words in network byte order
(BC-FRAME-01). What a message does not name is 0, and is checked to be 0 (BC-FRAME-02, BC-FRAME-08). There is nothing to
negotiate about a frame's length, so a reader cuts the stream every 20 octets and is done (BC-CHAN-04).

Messages are named tuples, and the two frames that are written for each connection have a function each: a frame is on
the path of every connection, and these are what Python makes fastest.

The one frame that outlives versions is the hello, the first IDLE: :func:`decode_hello` reads it whatever the
version of the worker is (BC-VER-03).
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from .errors import Violation

__all__ = [
    "FRAME_SIZE",
    "VERSION",
    "Accept",
    "Busy",
    "Features",
    "Frame",
    "FrameReader",
    "Gone",
    "Hello",
    "Idle",
    "Reason",
    "Type",
    "decode",
    "decode_hello",
    "encode",
    "encode_accept",
    "encode_busy",
    "encode_status",
]

VERSION: Final = 0x10
"""The version octet of 1.0: major in the high nibble, minor in the low one."""

_LAYOUT: Final = struct.Struct("!BBBBIIII")
FRAME_SIZE: Final = _LAYOUT.size
"""Octets in every frame."""

_WORD_MAX: Final = 0xFFFF_FFFF


class Type(IntEnum):
    """The type octet."""

    ACCEPT = 0x41
    BUSY = 0x42
    GONE = 0x47
    IDLE = 0x49


class Reason(IntEnum):
    """Why a BUSY accepted as many as it did (BC-BUSY-04, BC-BUSY-09)."""

    FILLED = 0
    EMPTY = 1
    PEER = 2
    WORKER = 3
    SYSTEM = 4
    UNUSABLE = 5


class Features(IntFlag):
    """What a worker says of itself in its hello."""

    NONE = 0
    RESPONSIVE = 0x0001


class Accept(NamedTuple):
    """Parent to worker: take up to ``max`` connections from ``listener``, now."""

    order: int
    listener: int
    max: int


class Busy(NamedTuple):
    """Worker to parent: the answer to the ``Accept`` with the same ``order``."""

    order: int
    accepted: int
    reason: Reason
    open: int
    capacity: int


class Gone(NamedTuple):
    """Worker to parent: ``open`` or ``capacity`` has changed and ``open`` is not 0."""

    open: int
    capacity: int


class Hello(NamedTuple):
    """The versions a worker speaks, lowest to highest, and its features."""

    lowest: int
    highest: int
    features: Features


class Idle(NamedTuple):
    """Worker to parent: it holds nothing. The first one carries a ``hello``, no other does."""

    capacity: int
    hello: Hello | None = None


# looking a member up in its enumeration takes longer than all the rest of a frame
_ACCEPT: Final = int(Type.ACCEPT)
_BUSY: Final = int(Type.BUSY)
_GONE: Final = int(Type.GONE)
_IDLE: Final = int(Type.IDLE)
_REASONS: Final = tuple(Reason)
_PACK: Final = _LAYOUT.pack
_UNPACK: Final = _LAYOUT.unpack

Frame = Accept | Busy | Gone | Idle
Report = Busy | Gone | Idle


def encode_accept(order: int, listener: int, most: int) -> bytes:
    """The frame of ``Accept(order, listener, most)``."""
    return _PACK(VERSION, _ACCEPT, 0, 0, order, listener, most, 0)


def encode_busy(order: int, accepted: int, reason: int, open_: int, capacity: int) -> bytes:
    """The frame of ``Busy(order, accepted, reason, open_, capacity)``."""
    return _PACK(VERSION, _BUSY, reason, 0, order, accepted, open_, capacity)


def encode_status(open_: int, capacity: int) -> bytes:
    """The frame of ``Gone(open_, capacity)``, or of ``Idle(capacity)`` if ``open_`` is 0."""
    return _PACK(VERSION, _GONE if open_ else _IDLE, 0, 0, 0, 0, open_, capacity)


def encode(frame: Frame, version: int = VERSION) -> bytes:
    """The 20 octets of ``frame``. Raises ``struct.error`` for a figure that no word can hold."""
    match frame:
        case Accept(order, listener, most):
            return _LAYOUT.pack(version, Type.ACCEPT, 0, 0, order, listener, most, 0)
        case Busy(order, accepted, reason, open_, capacity):
            return _LAYOUT.pack(version, Type.BUSY, reason, 0, order, accepted, open_, capacity)
        case Gone(open_, capacity):
            return _LAYOUT.pack(version, Type.GONE, 0, 0, 0, 0, open_, capacity)
        case Idle(capacity, hello):
            word = 0
            if hello is not None:
                word = hello.lowest << 24 | hello.highest << 16 | hello.features
            return _LAYOUT.pack(version, Type.IDLE, 0, 0, word, 0, 0, capacity)


def decode(data: bytes, version: int = VERSION) -> Frame:
    """The message in ``data``, which is one frame of the version agreed on.

    Raises :class:`Violation` (BC-FRAME-03, and BC-STATUS-06 for figures that the type forbids, BC-HELLO-03 in a second
    hello). Which side may send which type is the caller's to check.
    """
    octet, kind, reason, reserved, word1, word2, word3, word4 = _UNPACK(data)
    if octet != version:
        raise Violation("BC-FRAME-03", f"version octet {octet:#04x}, agreed on {version:#04x}")
    if reserved:
        raise Violation("BC-FRAME-03", f"reserved octet is {reserved:#04x}, not 0")
    if kind == _BUSY:
        if reason >= len(_REASONS):
            raise Violation("BC-FRAME-03", f"BUSY with unknown reason {reason}")
        return Busy(word1, word2, _REASONS[reason], word3, word4)
    if reason:
        raise Violation("BC-FRAME-03", f"reason {reason} outside BUSY")
    if kind == _IDLE:
        if word2:
            raise Violation("BC-FRAME-03", "reserved word of IDLE is not 0")
        if word3:
            raise Violation("BC-HELLO-03" if word1 else "BC-STATUS-06", f"IDLE with open {word3}")
        return Idle(word4, _hello(word1) if word1 else None)
    if kind == _GONE:
        if word1 or word2:
            raise Violation("BC-FRAME-03", "reserved word of GONE is not 0")
        if not word3:
            raise Violation("BC-STATUS-06", "GONE with open 0")
        return Gone(word3, word4)
    if kind == _ACCEPT:
        if word4:
            raise Violation("BC-FRAME-03", "reserved word of ACCEPT is not 0")
        return Accept(word1, word2, word3)
    raise Violation("BC-FRAME-03", f"unknown type {kind:#04x}")


def decode_hello(data: bytes) -> Idle:
    """The hello in ``data``, whatever version its worker speaks; ``hello`` is never ``None`` in the result.

    Raises :class:`Violation` for anything else (BC-HELLO-03, BC-VER-01, BC-VER-02).
    """
    octet, kind, reason, reserved, word, word2, word3, capacity = _LAYOUT.unpack(data)
    if kind != Type.IDLE or reason or reserved or word2 or word3 or not capacity:
        raise Violation("BC-HELLO-03", f"first frame is {data.hex()}, which is not a hello of a worker that takes any")
    hello = _hello(word)
    if not 0 < hello.lowest <= hello.highest:
        raise Violation("BC-VER-01", f"hello says versions {hello.lowest:#04x} to {hello.highest:#04x}")
    if octet != hello.lowest:
        raise Violation("BC-VER-02", f"hello from version {hello.lowest:#04x} on under octet {octet:#04x}")
    return Idle(capacity, hello)


def _hello(word: int) -> Hello:
    return Hello(word >> 24, word >> 16 & 0xFF, Features(word & Features.RESPONSIVE))


class FrameReader:
    """Cuts a stream into frames, however it was split or merged (BC-CHAN-04, BC-CHAN-13)."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that ``data`` completes, oldest first."""
        if len(data) == FRAME_SIZE and not self._rest:
            return [data]
        if self._rest:
            data = self._rest + data
        whole = len(data) - len(data) % FRAME_SIZE
        self._rest = data[whole:]
        return [data[at : at + FRAME_SIZE] for at in range(0, whole, FRAME_SIZE)]
