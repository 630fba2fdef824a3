"""A trace of the parent: each thing it was told and each thing it asked for, one JSON object a line.

    record(parent, file.write)

The first line holds the settings. Then ``{"in": "received", "slot": 0, "data": "1049...", "now": 1.5}`` is a call with
its arguments, octets in hexadecimal, and ``{"out": "Send", "slot": 0, "data": "1041..."}`` an action handed out. What
such a trace must look like is checked by the conformance suite (``backchannel_conformance.model``).

The methods of one object are replaced, so a parent that is not recorded pays nothing.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from .actions import Action
from .parent import Parent

__all__ = ["INPUTS", "QUERIES", "record"]

QUERIES: Final = frozenset(
    {
        "take_actions",
        "next_deadline",
        "overdue",
        "octets_per_turn",
        "to_count",
        "watching",
        "unseen",
        "may_replace",
        "reports_can_wait",
        "stopping",
        "finished",
        "in_flight",
        "greeted",
        "edges",
    }
)
"""What only asks, and ``edges``. Everything else that is public and can be called tells the parent something, and is
recorded.
"""

INPUTS: Final = tuple(
    sorted(name for name, _ in inspect.getmembers(Parent, inspect.isfunction) if name[0] != "_" and name not in QUERIES)
)


def record(parent: Parent, write: Callable[[str], object]) -> None:
    """Write a trace of ``parent`` from now on, by ``write``, a line at a time."""

    def line(**fields: Any) -> None:
        write(json.dumps({name: _plain(value) for name, value in fields.items()}) + "\n")

    def recorded(name: str) -> Callable[..., Any]:
        method = getattr(parent, name)
        signature = inspect.signature(method)

        def call(*arguments: Any, **named: Any) -> Any:
            bound = signature.bind(*arguments, **named)
            line(**{"in": name}, **bound.arguments)
            return method(*arguments, **named)

        return call

    def take_actions() -> list[Action]:
        actions = take()
        for action in actions:
            line(out=type(action).__name__, **asdict(action))
        return actions

    take = parent.take_actions
    line(
        trace="parent",
        spec="1.0",
        settings=asdict(parent.settings),
        scaling=asdict(parent.rules),
        listeners=len(parent.backlogs),
        state=parent.state.value,
    )
    for name in INPUTS:
        setattr(parent, name, recorded(name))
    parent.take_actions = take_actions  # type: ignore[method-assign]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    return value
