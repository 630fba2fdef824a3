"""What went over channels, from whatever it was kept in.

- a parent's trace (:mod:`backchannel.trace`): one JSON object a line
- frames written in hexadecimal, a line each, as in the specification's examples
- octets, as they were read from a channel

Which of them it is can be seen from the first octets: frames are never text. Frames are decoded by the core's own
:func:`backchannel.decode`, whatever their version octet says.

A capture may come from anywhere, so nothing in it reaches a terminal as it is: slots are numbers in range, names of
workers are short, frames have a frame's length, and other text is made fit to print.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from backchannel import Accept, Busy, Frame, FrameReader, Gone, Violation, decode
from backchannel.frames import FRAME_SIZE
from backchannel.printing import printable

__all__ = ["CaptureError", "Event", "describe", "read", "summary"]

PARENT, WORKER, NOTE = "P", "W", "-"

SPAWNED: Final = "is spawned"
EXITED: Final = "has exited with "


MOST_WORKERS: Final = 1024
"""Workers of one capture at most: a chart has a column for each."""

LONGEST: Final = 1000
"""Characters of a note that are shown."""


class CaptureError(Exception):
    """This is none of the forms; the message says which line is at fault."""


@dataclass(frozen=True, slots=True)
class Event:
    """A frame, or something else that happened (``side`` is ``-``, ``text`` says what)."""

    side: str
    worker: str = ""
    """Slot or name of the worker; empty when the capture does not say."""
    data: bytes = b""
    text: str = ""
    when: float | None = None
    """Seconds since the first one."""


def read(data: bytes) -> list[Event]:
    """All events in ``data``, oldest first. Raises :class:`CaptureError`."""
    events = list(_events(data))
    workers = len({event.worker for event in events})
    if workers > MOST_WORKERS:
        raise CaptureError(f"there are {workers} workers in it, and {MOST_WORKERS} are the most that can be told apart")
    return events


def _events(data: bytes) -> Iterator[Event]:
    if data.lstrip()[:1] == b"{":
        return _of_trace(data.decode("utf-8", "replace"))
    if re.search(rb"[^\t\n\r\x20-\x7e]", data) is None:
        return _of_text(data.decode("ascii"))
    return _of_octets(data)


def describe(data: bytes) -> str:
    """A frame in words: its type, and each of its figures."""
    try:
        frame = decode(data, data[0])
    except Violation as violation:
        return f"?? {violation}"
    match frame:
        case Accept(order, listener, most):
            return f"ACCEPT order={order} listener={listener} max={most}"
        case Busy(order, accepted, reason, open_, capacity):
            figures = f"open={open_} capacity={capacity}"
            return f"BUSY order={order} accepted={accepted} reason={reason.name} {figures}"
        case Gone(open_, capacity):
            return f"GONE open={open_} capacity={capacity}"
    hello = ""
    if frame.hello is not None:
        hello = f"hello={frame.hello.lowest:02x}..{frame.hello.highest:02x} features={frame.hello.features:04x} "
    return f"IDLE {hello}open=0 capacity={frame.capacity}"


def summary(data: bytes) -> str:
    """A frame in a few letters, for a chart."""
    try:
        frame: Frame = decode(data, data[0])
    except Violation as violation:
        return f"?? {violation.requirement}"
    match frame:
        case Accept(order, listener, most):
            where = f" on {listener}" if listener else ""
            return f"ACCEPT #{order} max {most}{where}"
        case Busy(order, accepted, reason, open_, capacity):
            why = "" if reason.name == "FILLED" else f" {reason.name}"
            return f"BUSY #{order} +{accepted}{why} {open_}/{capacity}"
        case Gone(open_, capacity):
            return f"GONE {open_}/{capacity}"
    return f"{'hello' if frame.hello else 'IDLE'} 0/{frame.capacity}"


def _side(frame: bytes) -> str:
    """Only a parent sends ACCEPT, only workers send the rest."""
    return PARENT if frame[1:2] == b"A" else WORKER


# ------------------------------------------------------------------------------------------- octets


def _of_octets(data: bytes) -> Iterator[Event]:
    reader = FrameReader()
    count = 0
    for frame in reader.feed(data):
        count += len(frame)
        yield Event(_side(frame), data=frame)
    if rest := data[count:]:
        yield Event(NOTE, text=f"ends within a frame, after {rest.hex()}")


# --------------------------------------------------------------------------------------------- text

_LINE: Final = re.compile(r"(?P<side>[PW])(?P<worker>\w{0,16})\s+(?P<octets>[0-9a-f]{8}(?:\s?[0-9a-f]{8}){4})\b")
_BARE: Final = re.compile(r"[0-9a-f]{8}(?:\s?[0-9a-f]{8}){4}\b")


def _of_text(text: str) -> Iterator[Event]:
    for number, line in enumerate(text.splitlines(), 1):
        if match := _LINE.search(line):
            yield Event(match["side"], match["worker"], bytes.fromhex(match["octets"]))
        elif match := _BARE.match(line.strip()):
            frame = bytes.fromhex(match[0])
            yield Event(_side(frame), data=frame)
        elif line.strip().startswith("- "):
            yield Event(NOTE, text=printable(line.strip()[2:].strip(), LONGEST))
        elif line.strip() and not line.startswith("#"):
            raise CaptureError(f"line {number}: no frame in {line.strip()[:60]!r}; write 40 hexadecimal digits")


# -------------------------------------------------------------------------------------------- trace

_SILENT: Final = frozenset({"judge", "scale", "received", "dispatch"})
_WORDS: Final = {
    "Spawn": SPAWNED,
    "HalfClose": "is drained: the parent half-closes its channel",
    "Kill": "is killed",
    "CloseListeners": "the parent closes the listeners",
    "start": "the parent starts",
    "stop": "the parent is told to stop",
    "reload": "the parent is told to reload",
    "eof": "has closed its channel",
}


def _of_trace(text: str) -> Iterator[Event]:
    readers: dict[int, FrameReader] = defaultdict(FrameReader)
    first: float | None = None
    when: float | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line:
            continue
        try:
            found = json.loads(line)
            if (now := found.get("now")) is not None:
                now = _figure(now, "now", 2**63)
                first = now if first is None else first
                when = now - first
            yield from _of_entry(found, readers, when)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            what = printable(str(error), 200)
            raise CaptureError(f"line {number}: this is not a line of a parent's trace ({what})") from None


def _of_entry(found: dict[str, Any], readers: dict[int, FrameReader], when: float | None) -> Iterator[Event]:
    name = found.get("in") or found.get("out")
    slot = None if found.get("slot") is None else int(_figure(found["slot"], "slot", 2**31))
    worker = "" if slot is None else str(slot)

    def note(text: str, worker: str = worker) -> Event:
        return Event(NOTE, worker, text=printable(text, LONGEST), when=when)

    if name == "Send":
        frame = bytes.fromhex(found["data"])
        if len(frame) != FRAME_SIZE:
            raise ValueError(f"what was sent is not a frame, which has {FRAME_SIZE} octets")
        yield Event(PARENT, worker, frame, when=when)
    elif name == "received":
        for frame in readers[int(worker)].feed(bytes.fromhex(found["data"])):
            yield Event(WORKER, worker, frame, when=when)
    elif name == "dispatch":
        pending = {index: count for index, count in found["counts"].items() if count}
        if pending:
            yield note(", ".join(f"{count} pending on listener {index}" for index, count in pending.items()), "")
    elif name == "readable":
        yield note(f"listener {found['listener']} is readable", "")
    elif name == "exited":
        readers.pop(int(worker), None)
        yield note(f"{EXITED}{found['status']}")
    elif name in ("Note", "GiveUp"):
        requirement = f" [{found['requirement']}]" if found.get("requirement") else ""
        yield note(f"{found['text']}{requirement}")
    elif name is not None and name not in _SILENT:
        if name == "Spawn":
            readers.pop(int(worker), None)
        yield note(_WORDS.get(name, str(name)))


def _figure(value: object, name: str, most: int) -> float:
    if type(value) not in (int, float) or not 0 <= value <= most:  # type: ignore[operator]
        raise ValueError(f"{name!r} is not a number from 0 to {most}")
    return value  # type: ignore[return-value]
