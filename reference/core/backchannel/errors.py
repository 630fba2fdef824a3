"""What can go wrong, in the order in which a caller meets it.

- :class:`SettingError`: a setting makes no sense. Raised while objects are built, before anything runs.
- :class:`Violation`: the peer broke the protocol. It carries the id of the requirement that was broken, so that a
  log line can name it. :class:`~backchannel.parent.Parent` never raises it: it kills the worker and goes on
  (BC-VIOL-01).
- ``LookupError`` and friends: a bug in the caller, for example an event for a slot that has no worker.
"""

from __future__ import annotations

__all__ = ["SettingError", "Violation"]


class SettingError(ValueError):
    """A setting is impossible; the message names it and says what would do."""


class Violation(Exception):
    """The peer broke a requirement of the specification."""

    def __init__(self, requirement: str, message: str) -> None:
        super().__init__(f"{requirement}: {message}")
        self.requirement = requirement
        self.message = message
