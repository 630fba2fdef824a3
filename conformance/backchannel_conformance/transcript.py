"""What went over the channels during the current case, frame by frame, so that a failure can be understood.

Workers and parents under test are at one end of a channel, the suite at the other. It notes each piece that it writes
and each frame that it reads, in the notation of the specification's examples. Pieces are joined, as a reader of the
channel has to join them. Only the last frames are kept: what went wrong is at the end.
"""

from __future__ import annotations

from collections import deque

from . import frames

__all__ = ["begin", "lines", "note"]

KEPT = 60
_lines: deque[str] = deque(maxlen=KEPT)
_begun: dict[str, bytes] = {}
_pieces: dict[str, int] = {}


def begin() -> None:
    """A new case."""
    _lines.clear()
    _begun.clear()
    _pieces.clear()


def note(side: str, octets: bytes) -> None:
    """``side`` (``P`` or ``W``, perhaps with a slot) has written this."""
    data = _begun.pop(side, b"") + octets
    _pieces[side] = _pieces.get(side, 0) + 1
    while len(data) >= frames.SIZE:
        frame, data = data[: frames.SIZE], data[frames.SIZE :]
        pieces = _pieces[side]
        cut = f"  (in {pieces} pieces)" if pieces > 1 else ""
        _lines.append(_line(side, frame, str(frames.Frame.parse(frame)).partition(" (")[0] + cut))
        _pieces[side] = 1 if data else 0
    if data:
        _begun[side] = data


def lines() -> list[str]:
    """What was noted, the oldest first; then what was begun and not finished."""
    return [*_lines, *(_line(side, part, f"{len(part)} octets of a frame") for side, part in _begun.items())]


def _line(side: str, octets: bytes, meaning: str) -> str:
    words = " ".join(octets[at : at + 4].hex() for at in range(0, len(octets), 4))
    return f"{side:<3}{words}  {meaning}"
