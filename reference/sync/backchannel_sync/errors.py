"""Errors of the person who starts a server, each with the exit status it leads to."""

from __future__ import annotations

from backchannel.printing import one_line

__all__ = ["StartError"]


class StartError(Exception):
    """The server cannot start: one line that names the thing and the remedy, and the status to exit with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(one_line(message))
        self.status = status
