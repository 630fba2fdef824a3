"""The suite's own codec, written from ``spec/1.0/channel.rst``: it shares nothing with any implementation.

A frame has two forms here. A :class:`Frame` is its fields, valid or not: most of what the suite sends on purpose is
wrong. A *message* is a plain dictionary, as in ``spec/1.0/vectors/frames.json`` and in the role *codec*:

    {"type": "BUSY", "order": 2, "accepted": 1, "reason": "FILLED", "open": 1, "capacity": 1}
    {"type": "IDLE", "open": 0, "capacity": 4, "hello": {"lowest": 16, "highest": 16, "features": ["RESPONSIVE"]}}

:func:`decode` makes a message of octets only if they are valid; otherwise it raises a :class:`Violation`, which names
the requirement that is broken (BC-VIOL-04).
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

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
    "Message",
    "Violation",
    "accept",
    "busy",
    "cut",
    "decode",
    "encode",
    "flood",
    "gone",
    "hello",
    "idle",
]

LAYOUT = struct.Struct("!BBBBIIII")
SIZE = LAYOUT.size
VERSION = 0x10
ACCEPT, BUSY, GONE, IDLE = b"ABGI"
FILLED, EMPTY, PEER, WORKER, SYSTEM, UNUSABLE = range(6)
REASONS = ("FILLED", "EMPTY", "PEER", "WORKER", "SYSTEM", "UNUSABLE")
FEATURES = {"RESPONSIVE": 0x0001}

Message = dict[str, Any]

# each type: its octet, its sender, and what its four words are called ("" is reserved)
TYPES = {
    "ACCEPT": (ACCEPT, "parent", ("order", "listener", "max", "")),
    "BUSY": (BUSY, "worker", ("order", "accepted", "open", "capacity")),
    "GONE": (GONE, "worker", ("", "", "open", "capacity")),
    "IDLE": (IDLE, "worker", ("hello", "", "open", "capacity")),
}
NAMES = {octet: name for name, (octet, _, _) in TYPES.items()}


class Violation(Exception):
    """A frame breaks a requirement."""

    def __init__(self, requirement: str, what: str) -> None:
        super().__init__(f"{requirement}: {what}")
        self.requirement = requirement


# ------------------------------------------------------------------------------------- frames as fields


class Frame(NamedTuple):
    """One frame. The words have the names that ``BUSY`` gives them; ``ACCEPT`` has other names for two of them."""

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
        """As they go over the channel. Raises ``OverflowError`` for a word that does not fit."""
        return bytes(self[:4]) + b"".join(word.to_bytes(4) for word in self[4:])

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
    """Any ``IDLE`` but the first."""
    return Frame(VERSION, IDLE, 0, 0, 0, 0, 0, capacity)


def hello(capacity: int = 1, lowest: int = VERSION, highest: int = VERSION, features: int = 0) -> Frame:
    """The first ``IDLE``."""
    return Frame(lowest, IDLE, 0, 0, lowest << 24 | highest << 16 | features, 0, 0, capacity)


def flood(count: int = 200) -> bytes:
    """``IDLE`` frames that a worker may write one after another: each has another capacity than the one before."""
    return b"".join(idle(4 - at % 2).octets for at in range(count))


def cut(stream: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames in ``stream``, and what is left."""
    whole = [stream[at : at + SIZE] for at in range(0, len(stream) - SIZE + 1, SIZE)]
    return whole, stream[len(whole) * SIZE :]


# ----------------------------------------------------------------------------------- frames as messages


def encode(message: Message, version: int | None = None) -> bytes:
    """The frame of ``message``, in ``version``: by default 1.0, and for a hello its lowest version."""
    octet, _, words = TYPES[message["type"]]
    announced = message.get("hello")
    figures = {**message, "hello": 0, "": 0}
    if announced:
        bits = sum(FEATURES[name] for name in announced["features"])
        figures["hello"] = announced["lowest"] << 24 | announced["highest"] << 16 | bits
    if version is None:
        version = announced["lowest"] if announced else VERSION
    reason = REASONS.index(message["reason"]) if "reason" in message else 0
    return Frame(version, octet, reason, 0, *(int(figures[word]) for word in words)).octets


def decode(octets: bytes, sender: str, *, first: bool = False, version: int = VERSION) -> Message:
    """The message in one frame from ``sender``, which is ``"parent"`` or ``"worker"``.

    ``first``: it is the first frame from that side, the hello or the welcome. ``version`` is the one agreed on. Raises
    :class:`Violation`.
    """
    frame = Frame.parse(octets)
    # what makes a worker's first frame no hello is a requirement of its own
    layout = "BC-HELLO-03" if first and sender == "worker" else "BC-FRAME-03"
    if layout == "BC-FRAME-03" and frame.version != version:
        raise Violation("BC-VER-06" if first else layout, f"version octet {frame.version:#04x}")
    name = NAMES.get(frame.type)
    if name is None or TYPES[name][1] != sender or (layout == "BC-HELLO-03" and name != "IDLE"):
        raise Violation(layout, f"type {frame.type:#04x} from a {sender}")
    if frame.reason >= (len(REASONS) if name == "BUSY" else 1):
        raise Violation(layout, f"reason {frame.reason} in {name}")
    if frame.reserved:
        raise Violation(layout, f"reserved octet {frame.reserved}")
    message: Message = {"type": name}
    for at, (word, figure) in enumerate(zip(TYPES[name][2], frame[4:], strict=True), 1):
        if not word and figure:
            raise Violation(layout, f"reserved word {at} of {name} is {figure}")
        if word:
            message[word] = figure
    if name == "BUSY":
        message["reason"] = REASONS[frame.reason]
    if name == "GONE" and not frame.open:
        raise Violation("BC-STATUS-06", "GONE with open 0")
    if name == "IDLE":
        _check_idle(message, frame, first)
    return message


def _check_idle(message: Message, frame: Frame, first: bool) -> None:
    word = message.pop("hello")
    if word and not first:
        raise Violation("BC-HELLO-03", "a second hello")
    if frame.open:
        raise Violation("BC-HELLO-03" if first else "BC-STATUS-06", f"IDLE with open {frame.open}")
    if not first:
        return
    if not frame.capacity:
        raise Violation("BC-HELLO-03", "hello with capacity 0")
    lowest, highest = word >> 24, word >> 16 & 0xFF
    if not 1 <= lowest <= highest:
        raise Violation("BC-VER-01", f"versions {lowest:#04x} to {highest:#04x}")
    if frame.version != lowest:
        raise Violation("BC-VER-02", f"octet {frame.version:#04x}, lowest version {lowest:#04x}")
    features = [name for name, bit in FEATURES.items() if word & bit]
    message["hello"] = {"lowest": lowest, "highest": highest, "features": features}
