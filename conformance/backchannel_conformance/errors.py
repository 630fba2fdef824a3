"""What can come of a case, other than a pass.

- :class:`Broken`: the implementation broke a requirement: *fail*.
- any other exception: the implementation crashed or talked nonsense, or the suite is wrong: *error*, never a pass.
- :class:`Mistake`: the person who runs the suite gave it something it cannot use: one line, exit status 2.
"""

from __future__ import annotations

from .requirements import Requirements

__all__ = ["Broken", "Mistake", "check"]


class Broken(AssertionError):
    """A requirement does not hold. The message names it, quotes it, and says what was seen."""

    def __init__(self, requirement: str, seen: str) -> None:
        clause = Requirements.load().text(requirement)
        super().__init__(f"{requirement} does not hold: {seen}\n  the clause: {clause}")
        self.requirement = requirement
        self.seen = seen


class Mistake(Exception):
    """The user's mistake: the message names the thing and the remedy."""


def check(holds: bool, requirement: str, seen: str) -> None:
    """Raise :class:`Broken` unless ``holds``."""
    if not holds:
        raise Broken(requirement, seen)
