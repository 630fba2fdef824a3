"""What a parent counts from its start on, for its status."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """What happened since the start. ``orders`` to ``dead`` and ``late`` count connections, not orders.

    orders = accepted + expired + short + dead + what is under way; ``late`` ones are among the ``expired``.
    """

    orders: int = 0
    probes: int = 0
    accepted: int = 0
    late: int = 0
    expired: int = 0
    short: int = 0
    dead: int = 0
    spawned: int = 0
    deaths: int = 0
    kills: int = 0
    retired: int = 0
