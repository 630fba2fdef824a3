"""The suite's own codec, written from the specification. It shares no line and no idea with any implementation.

A message is a plain dictionary, as it stands in ``spec/1.0/vectors/frames.json``, and as the *codec* role speaks it:

    {"type": "BUSY", "order": 2, "accepted": 1, "reason": "FILLED", "open": 1, "capacity": 1}
    {"type": "IDLE", "open": 0, "capacity": 4, "hello": {"lowest": 16, "highest": 16, "features": ["RESPONSIVE"]}}

What is wrong with a frame is a :class:`Wrong`, with the id of the requirement that it breaks (BC-VIOL-04).
"""

from __future__ import annotations

from typing import Any

__all__ = ["SIZE", "VERSION", "Message", "Wrong", "cut", "decode", "encode"]

SIZE = 20
VERSION = 0x10

Message = dict[str, Any]

# each message: its sender, its octet, and what its four words are called ("" is reserved)
_MESSAGES = {
    "ACCEPT": ("parent", "A", ("order", "listener", "max", "")),
    "BUSY": ("worker", "B", ("order", "accepted", "open", "capacity")),
    "GONE": ("worker", "G", ("", "", "open", "capacity")),
    "IDLE": ("worker", "I", ("hello", "", "open", "capacity")),
}
_REASONS = ("FILLED", "EMPTY", "PEER", "WORKER", "SYSTEM", "UNUSABLE")
_FEATURES = {"RESPONSIVE": 0x0001}


class Wrong(Exception):
    """A frame breaks a requirement."""

    def __init__(self, requirement: str, what: str) -> None:
        super().__init__(f"{requirement}: {what}")
        self.requirement = requirement


def encode(message: Message, version: int | None = None) -> bytes:
    """The frame of ``message``, in ``version``: by default 1.0, and for a hello its lowest version."""
    _, letter, words = _MESSAGES[message["type"]]
    hello = message.get("hello")
    figures = {**message, "hello": 0, "": 0}
    if hello:
        bits = sum(_FEATURES[name] for name in hello["features"])
        figures["hello"] = int.from_bytes([hello["lowest"], hello["highest"], bits >> 8, bits & 0xFF])
    if version is None:
        version = hello["lowest"] if hello else VERSION
    reason = _REASONS.index(message["reason"]) if "reason" in message else 0
    head = bytes([version, ord(letter), reason, 0])
    return head + b"".join(int(figures[word]).to_bytes(4) for word in words)


def decode(octets: bytes, sender: str, *, first: bool = False, version: int = VERSION) -> Message:
    """The message in one frame from ``sender``, who is ``"parent"`` or ``"worker"``.

    ``first``: it is the first one on its way, the hello or the welcome. ``version`` is the one agreed on. Raises
    :class:`Wrong`.
    """
    assert len(octets) == SIZE
    layout = "BC-HELLO-03" if first and sender == "worker" else "BC-FRAME-03"
    if layout == "BC-FRAME-03" and octets[0] != version:
        raise Wrong("BC-VER-06" if first else layout, f"version octet {octets[0]:#04x}")
    name = next((name for name, (_, letter, _) in _MESSAGES.items() if ord(letter) == octets[1]), None)
    if name is None or _MESSAGES[name][0] != sender or (layout == "BC-HELLO-03" and name != "IDLE"):
        raise Wrong(layout, f"type {octets[1]:#04x} from a {sender}")
    if octets[2] >= (len(_REASONS) if name == "BUSY" else 1):
        raise Wrong(layout, f"reason {octets[2]} in {name}")
    if octets[3]:
        raise Wrong(layout, f"reserved octet {octets[3]}")
    message: Message = {"type": name}
    for at, word in enumerate(_MESSAGES[name][2]):
        figure = int.from_bytes(octets[4 + 4 * at : 8 + 4 * at])
        if not word and figure:
            raise Wrong(layout, f"reserved word {at + 1} of {name} is {figure}")
        if word:
            message[word] = figure
    if name == "BUSY":
        message["reason"] = _REASONS[octets[2]]
    if name == "GONE" and not message["open"]:
        raise Wrong("BC-STATUS-06", "GONE with open 0")
    if name == "IDLE":
        _check_idle(message, octets, first)
    return message


def _check_idle(message: Message, octets: bytes, first: bool) -> None:
    word = message.pop("hello")
    if word and not first:
        raise Wrong("BC-HELLO-03", "a second hello")
    if message["open"]:
        raise Wrong("BC-HELLO-03" if first else "BC-STATUS-06", f"IDLE with open {message['open']}")
    if not first:
        return
    if not message["capacity"]:
        raise Wrong("BC-HELLO-03", "hello with capacity 0")
    lowest, highest = word >> 24, word >> 16 & 0xFF
    if not 1 <= lowest <= highest:
        raise Wrong("BC-VER-01", f"versions {lowest:#04x} to {highest:#04x}")
    if octets[0] != lowest:
        raise Wrong("BC-VER-02", f"octet {octets[0]:#04x}, lowest version {lowest:#04x}")
    features = [name for name, bit in _FEATURES.items() if word & bit]
    message["hello"] = {"lowest": lowest, "highest": highest, "features": features}


def cut(stream: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames in ``stream``, and what is left."""
    frames = [stream[at : at + SIZE] for at in range(0, len(stream) - SIZE + 1, SIZE)]
    return frames, stream[len(frames) * SIZE :]
