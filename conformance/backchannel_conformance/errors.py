"""What can come of a case, other than a pass.

- :class:`Broken`: the implementation broke a requirement: *fail*.
- :class:`Failure`: it did not do what the adapter contract asks, so nothing can be said: *error*.
- any other exception: the implementation crashed or talked nonsense, or the suite is wrong: *error*, never a pass.
- :class:`Mistake`: the person who runs the suite gave it something it cannot use: one line, exit status 2.

What a port has said stands in many of these messages, so each makes its own fit to be shown.
"""

from __future__ import annotations

from .requirements import Requirements
from .text import printable

__all__ = ["Broken", "Failure", "Mistake", "check"]


class Broken(AssertionError):
    """A requirement does not hold. The message names it, quotes it, and says what was seen."""

    def __init__(self, requirement: str, seen: str) -> None:
        clause = Requirements.load().text(requirement)
        seen = printable(seen)
        super().__init__(f"{requirement} does not hold: {seen}\n  the clause: {clause}")
        self.requirement = requirement
        self.seen = seen


class Failure(Exception):
    """The port did not do what the contract asks of it, so nothing can be tested: an error, not a verdict."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class Mistake(Exception):
    """The user's mistake: the message names the thing and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def check(holds: bool, requirement: str, seen: str) -> None:
    """Raise :class:`Broken` unless ``holds``."""
    if not holds:
        raise Broken(requirement, seen)
