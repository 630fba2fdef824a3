"""A client of a worker under test, as the model knows it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Visitor"]


@dataclass(eq=False)
class Visitor:
    """A client, and what has become of its connection."""

    name: int
    listener: int
    said: str = ""
    left: str = ""
    """How it has left: ``half`` (it still reads), ``closed`` or ``reset``."""
    state: str = "pending"
    """``pending``, ``held`` or, when a report has left it out, ``ended``."""
    answers: int = 0
    """Lines that it has read."""
    over: bool = False
    """It has read the end of its connection."""

    @property
    def sees(self) -> bool:
        """Whether anybody can tell what comes to it."""
        return self.left in ("", "half")

    @property
    def command(self) -> str | None:
        """The line that it has sent, if it is whole."""
        line, end, _ = self.said.partition("\n")
        return line if end else None

    @property
    def ends(self) -> bool:
        """Whether its service comes to an end by itself."""
        return self.command not in (None, "hold") or bool(self.left)

    @property
    def brief(self) -> bool:
        """Whether a worker may serve it before the answer to the order that took it (BC-BUSY-05)."""
        return self.command not in (None, "hold")

    @property
    def owed(self) -> int:
        """Lines that it must get, once it is served."""
        if self.command == "who":
            return 1
        return self.said.count("\n") if self.command == "hold" else 0
