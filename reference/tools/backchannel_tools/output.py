"""Standard output of a tool, which may be full, or have a reader that has seen enough."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

__all__ = ["NotTaken", "put"]


class NotTaken(Exception):
    """What there was to say could not be written; the message says why, and is empty where nobody wanted more."""


@contextlib.contextmanager
def put() -> Iterator[None]:
    """While this lasts, what is printed is written, all of it. Raises :class:`NotTaken`."""
    try:
        yield
        if sys.stdout is not None:  # as it is where it was closed
            sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # or Python would try again at the end, and complain
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        why = "" if isinstance(error, BrokenPipeError) else f"standard output cannot be written: {error.strerror}"
        raise NotTaken(why) from None
