"""The directory that a server was started in, by the name that people know it by.

A deployment is often a symbolic link to the current release, and a new release is the link put elsewhere. The system
knows a process's directory, but not by which name it was entered: whoever starts workers in it starts them in the old
release for ever. The shell knows, and says so in ``PWD``. So new workers, and a new parent, enter the directory again
by that name before they load any code.

What they load it from is the directory without the link: an old worker that imports something late must not find the
new release there.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

from .errors import StartError

__all__ = ["Place"]

log = logging.getLogger("backchannel")


class Place:
    """Where code is loaded from. ``name`` may be, or contain, a link; ``real`` is what it was at the start."""

    def __init__(self, name: str, real: str) -> None:
        self.name = name
        self.real = real

    @classmethod
    def find(cls, wanted: str | None = None, environment: Mapping[str, str] = os.environ) -> Place:
        """Where this process is, or, if it is given, ``wanted``, which it goes to. Raises :class:`StartError`."""
        if wanted is not None:
            if not os.path.isabs(wanted):
                raise StartError(
                    2, f"--chdir {wanted}: give the whole path, from / on: it is entered again at a reload"
                )
            try:
                os.chdir(wanted)
            except OSError as error:
                raise StartError(2, f"--chdir {wanted}: {error.strerror}") from None
            return cls(wanted, os.getcwd())
        real, name = _here(), environment.get("PWD", "")
        try:
            known = os.path.isabs(name) and os.path.samefile(name, os.curdir)
        except OSError:  # it has gone, or may not be looked at
            known = False
        return cls(name if known else real, real)

    def enter(self) -> None:
        """Go to where the name leads now. If it leads nowhere, stay, and say so."""
        if not self.name:
            return
        try:
            os.chdir(self.name)
        except OSError as error:
            log.warning(
                "cannot enter %s again (%s): a new worker starts in the directory as it was", self.name, error.strerror
            )

    def load_from_here(self) -> None:
        """In a new worker: enter it, and search it for modules instead of what it was at the start."""
        self.enter()
        here = _here()
        if here and self.real and here != self.real:
            sys.path[:] = [self._moved(entry, here) for entry in sys.path]

    def _moved(self, entry: str, here: str) -> str:
        """``entry`` of the path, if it lies in the directory as it was at the start, in ``here`` instead: Python has
        made what PYTHONPATH says of that directory absolute. What there is in the old one alone stays.
        """
        if not f"{entry}/".startswith(f"{self.real.rstrip('/')}/"):
            return entry
        moved = os.path.normpath(os.path.join(here, os.path.relpath(entry, self.real)))
        return moved if os.path.exists(moved) or not os.path.exists(entry) else entry

    def now(self) -> str:
        """Where the name leads now, for the log."""
        return os.path.realpath(self.name) if self.name else "a directory that had gone before the start"

    def renewed(self, path: str) -> str:
        """``path``, if it lies within the directory as it was at the start, by the directory's name."""
        if self.real and path.startswith(self.real.rstrip("/") + "/"):
            return os.path.join(self.name, os.path.relpath(path, self.real))
        return path


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""
