"""Text from elsewhere, made fit for one line of a log or a terminal.

A name, an address or an error's message may hold whatever its author likes: a line break that forges a record, an
escape sequence that a terminal obeys, a mark that turns the reading direction. None of these is left as it is.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LONGEST", "one_line", "printable"]

LONGEST: Final = 4096
"""Characters of one text that are shown, unless another limit is given."""


def printable(text: str, longest: int = LONGEST) -> str:
    """``text`` with every character that does not print written as its escape (``\\n``, ``\\x1b``, ``\\u202e``), and
    cut after ``longest`` characters of it, with an ellipsis. A text that prints is returned as it is.
    """
    cut = text if len(text) <= longest else f"{text[:longest]}…"
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)


def one_line(text: str) -> str:
    """``text`` of several lines as one that prints, with bars between them."""
    return printable(" | ".join(map(str.strip, text.splitlines())))
