"""What can come of a case, other than a pass.

- *fail*: the implementation broke a requirement: :class:`RequirementViolated`.
- *error*: it did not do what the adapter contract asks, so nothing can be said: :class:`ContractError`. Any other
  exception is an error, too: the implementation crashed or talked nonsense, or the suite is wrong.
- *not applicable* or *untestable*: the case was skipped, with a reason that begins with :data:`NOT_APPLICABLE` or
  :data:`UNTESTABLE`.

What the person who runs the suite gets wrong is a :class:`UsageError`: one line, exit status 2.

Many of these messages quote what a port has said, so each makes its own text fit to be shown.
"""

from __future__ import annotations

from .port_output import printable
from .requirements import Requirements

__all__ = ["NOT_APPLICABLE", "UNTESTABLE", "ContractError", "RequirementViolated", "UsageError", "check"]

NOT_APPLICABLE = "not applicable: "
"""The implementation does not offer what the case is about."""
UNTESTABLE = "untestable here: "
"""This system does not tell what the case asks."""


class RequirementViolated(AssertionError):
    """A requirement does not hold. The message names it, quotes it, and says what was seen."""

    def __init__(self, requirement: str, seen: str) -> None:
        clause = Requirements.load().text(requirement)
        seen = printable(seen)
        super().__init__(f"{requirement} does not hold: {seen}\n  the clause: {clause}")
        self.requirement = requirement
        self.seen = seen


class ContractError(Exception):
    """The port did not do what the contract asks of it, so nothing can be tested: an error, not a verdict."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class UsageError(Exception):
    """The suite was given what it cannot use: the message names the thing and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def check(holds: bool, requirement: str, seen: str) -> None:
    """Raise :class:`RequirementViolated` unless ``holds``."""
    if not holds:
        raise RequirementViolated(requirement, seen)
