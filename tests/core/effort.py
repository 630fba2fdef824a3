"""How many examples a random test draws."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

__all__ = ["at_least"]


def at_least(examples: int, **others: Any) -> settings:
    """Settings with ``examples``, or as many as the profile says if those are more."""
    return settings(max_examples=max(examples, settings().max_examples), **others)
