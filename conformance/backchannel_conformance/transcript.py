"""What went over the channels during the case that runs, line by line, so that a failure can be read.

The suite's parent and its stubs note each piece that they write and each frame that they read, in the notation of the
specification's examples. Only the last lines are kept: what broke is at the end.
"""

from __future__ import annotations

from collections import deque

from . import wire

__all__ = ["begin", "lines", "note"]

KEPT = 60
_lines: deque[str] = deque(maxlen=KEPT)


def begin() -> None:
    """A new case."""
    _lines.clear()


def note(side: str, octets: bytes) -> None:
    """``side`` (``P`` or ``W``, perhaps with a slot) has written this."""
    for at in range(0, len(octets), wire.SIZE):
        piece = octets[at : at + wire.SIZE]
        words = " ".join(piece[word : word + 4].hex() for word in range(0, len(piece), 4))
        whole = len(octets) % wire.SIZE == 0
        meaning = str(wire.Frame.parse(piece)).partition(" (")[0] if whole else f"{len(piece)} octets"
        _lines.append(f"{side:<3}{words}  {meaning}")


def lines() -> list[str]:
    """What was noted, the oldest first."""
    return list(_lines)
