"""Errors of the person who starts a server, each with the exit status it leads to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from backchannel.printing import one_line

__all__ = ["StartError", "starting"]


class StartError(Exception):
    """The server cannot start: one line that names the thing and the remedy, and the status to exit with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(one_line(message))
        self.status = status


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """While this lasts, what the system refuses, and nothing more has been said of, keeps the server from starting: for
    want of descriptors, memory or room to watch them, as a rule. Raises :class:`StartError`.
    """
    try:
        yield
    except OSError as error:
        what = f"the system refuses what a server needs: {error.strerror or error}"
        raise StartError(os.EX_OSERR, f"{what}; look at the limits that it was started with (ulimit -a)") from None
