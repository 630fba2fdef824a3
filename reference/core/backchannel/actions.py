"""What the parent's side asks of the shell around it.

The core decides, the shell does. :meth:`backchannel.parent.Parent.take_actions` hands these out in the order in which
they are to be carried out.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Action", "CloseListeners", "GiveUp", "HalfClose", "Kill", "Note", "Release", "Reloaded", "Send", "Spawn"]


@dataclass(frozen=True, slots=True)
class Send:
    """Write ``data`` to the channel of ``slot``, whole and without blocking.

    Call :meth:`~backchannel.parent.Parent.send_failed` if the channel does not take it all at once (BC-KILL-02), and
    :meth:`~backchannel.parent.Parent.eof` at EPIPE or ECONNRESET, once what is readable has been read (BC-CHAN-15).
    """

    slot: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a worker in ``slot``. Call :meth:`~backchannel.parent.Parent.spawn_failed` if that cannot be done."""

    slot: int


@dataclass(frozen=True, slots=True)
class HalfClose:
    """Shut down the sending half of the channel of ``slot``, and go on reading it (BC-DRAIN-01)."""

    slot: int


@dataclass(frozen=True, slots=True)
class Kill:
    """Close the channel of ``slot`` and send SIGKILL to its worker (BC-KILL-01, BC-KILL-04)."""

    slot: int


@dataclass(frozen=True, slots=True)
class CloseListeners:
    """Close all listeners: nothing is dispatched any more."""


@dataclass(frozen=True, slots=True)
class Release:
    """Close the baton: the successor may watch the listeners from now on (BC-BATON-09)."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A reload is over, and no old worker has an order that it could still carry out in time. ``failure`` says why the
    old generation goes on, if it does (BC-RELOAD-05).
    """

    generation: int
    failure: str = ""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop with exit status ``status``: no worker can ever start (BC-SCALE-39)."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Log ``text``. ``requirement`` is the id of what a worker broke, if it did (BC-VIOL-02)."""

    slot: int | None
    text: str
    requirement: str | None = None


Action = Send | Spawn | HalfClose | Kill | CloseListeners | Release | Reloaded | GiveUp | Note
