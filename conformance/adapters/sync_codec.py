"""Role *codec* of the references: the core's frames, one JSON line at a time."""

from __future__ import annotations

import json
import sys
from typing import Any

from backchannel import (
    Accept,
    Busy,
    Features,
    FrameReader,
    Gone,
    Hello,
    Idle,
    Reason,
    Type,
    Violation,
    decode,
    decode_hello,
)
from backchannel import encode as encode_frame
from backchannel.frames import Frame


def as_json(frame: Frame) -> dict[str, Any]:
    """A message as the contract writes it."""
    match frame:
        case Accept(order, listener, most):
            return {"type": "ACCEPT", "order": order, "listener": listener, "max": most}
        case Busy(order, accepted, reason, open_, capacity):
            figures = {"open": open_, "capacity": capacity}
            return {"type": "BUSY", "order": order, "accepted": accepted, "reason": reason.name, **figures}
        case Gone(open_, capacity):
            return {"type": "GONE", "open": open_, "capacity": capacity}
        case Idle(capacity, None):
            return {"type": "IDLE", "open": 0, "capacity": capacity}
        case Idle(capacity, hello):
            features = ["RESPONSIVE"] if hello.features & Features.RESPONSIVE else []
            versions = {"lowest": hello.lowest, "highest": hello.highest, "features": features}
            return {"type": "IDLE", "open": 0, "capacity": capacity, "hello": versions}


def from_json(message: dict[str, Any]) -> tuple[Frame, int]:
    """A message, and the version octet that it goes out with."""
    match message:
        case {"type": "ACCEPT", "order": order, "listener": listener, "max": most}:
            return Accept(order, listener, most), 0x10
        case {"type": "BUSY", "order": order, "accepted": accepted, "reason": reason, **figures}:
            return Busy(order, accepted, Reason[reason], figures["open"], figures["capacity"]), 0x10
        case {"type": "GONE", "open": open_, "capacity": capacity}:
            return Gone(open_, capacity), 0x10
        case {"type": "IDLE", "capacity": capacity, "hello": versions}:
            features = Features.RESPONSIVE if "RESPONSIVE" in versions["features"] else Features.NONE
            return Idle(capacity, Hello(versions["lowest"], versions["highest"], features)), versions["lowest"]
        case {"type": "IDLE", "capacity": capacity}:
            return Idle(capacity), 0x10
    raise ValueError(f"no message: {message}")


def read(octets: bytes, sender: str, first: bool) -> Frame:
    """The message in one frame; raises :class:`Violation`."""
    if first and sender == "worker":
        return decode_hello(octets)
    if first and octets[0] != 0x10:
        raise Violation("BC-VER-06", f"welcome in version {octets[0]:#04x}")
    if (octets[1] == Type.ACCEPT) is not (sender == "parent"):
        raise Violation("BC-FRAME-03", "a type that this side does not send")
    frame = decode(octets)
    if isinstance(frame, Idle) and frame.hello is not None:
        raise Violation("BC-HELLO-03", "a second hello")
    return frame


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """What the contract has for ``question``."""
    match question:
        case {"decode": octets, "from": sender, "first": first}:
            try:
                return {"message": as_json(read(bytes.fromhex(octets), sender, first))}
            except Violation as violation:
                return {"reject": violation.requirement}
        case {"encode": message}:
            frame, version = from_json(message)
            return {"octets": encode_frame(frame, version).hex()}
        case {"cut": reads}:
            reader = FrameReader()
            return {"frames": [[frame.hex() for frame in reader.feed(bytes.fromhex(read))] for read in reads]}
    raise ValueError(f"no question of the contract: {question}")


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
