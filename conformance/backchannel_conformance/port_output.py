"""What a port writes, made fit to be shown: it may be anything, and it goes to terminals, into reports and into memory.

A control character moves the cursor, sets a title or fills the clipboard; a bidirectional one makes text look like
other text. So whatever does not print is shown as Python writes it in a string (``\\x1b``), and what is too long is
cut in the middle.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MOST", "MOST_WRITTEN", "printable", "short_logs", "tail"]

MOST = 8000
"""Characters of one message: enough for all that the suite says itself."""
MOST_WRITTEN = 128 << 20
"""Octets of one file that a port may write: a log, or a trace."""
KEPT = 1 << 20
"""Octets of a log that are kept when its case is over."""


def printable(text: object, most: int = MOST) -> str:
    """``text`` with everything escaped that does not print, but for the ends of lines; ``most`` characters of it."""
    said = str(text)
    if len(said) > most:
        half = most // 2
        said = f"{said[:half]} ... {len(said) - 2 * half} characters are left out ... {said[-half:]}"
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in said)


def tail(path: Path, most: int = 600) -> str:
    """The end of a log, at most so many octets of it; empty where there is none. It is not read as a whole."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most))
            return printable(file.read(most).decode(errors="backslashreplace")).strip()
    except FileNotFoundError:
        return ""


@contextmanager
def short_logs(folder: Path) -> Iterator[None]:
    """Afterwards the logs in ``folder``, which pytest keeps, are short. Raises ``RuntimeError`` for a port that has
    written as much as it may.
    """
    try:
        yield
    finally:
        cut = [path for path in folder.iterdir() if path.is_file() and _shorten(path)]
    if cut:
        raise RuntimeError(
            f"the port wrote {MOST_WRITTEN >> 20} MB to its output or error, which is all that it may: {cut[0].name}"
        )


def _shorten(path: Path) -> bool:
    """Leave the end of a log; whether it was full."""
    size = path.stat().st_size
    if size > KEPT:
        path.write_text(tail(path, KEPT), encoding="utf-8")
    return size >= MOST_WRITTEN
