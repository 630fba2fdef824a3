"""Settings of a pool: deadlines, dispatch and scaling, with the specification's defaults.

All times are in seconds. The defaults are those of ``spec/1.0/protocol.toml``; a test keeps them equal. Both classes
check themselves when they are built and raise :class:`~backchannel.errors.SettingError` for what cannot work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from .errors import SettingError

__all__ = ["POLICIES", "Scaling", "Settings"]

POLICIES = ("lowest", "least-loaded")

MOST_WORKERS = 1 << 16
"""Of one pool: what is told of each slot has to fit into one document, and all are started in one turn."""


def _check_types(owner: Settings | Scaling) -> None:
    """What is counted is whole, what is measured is a number: a fraction of a connection would end the pool later."""
    for field in fields(owner):
        value = getattr(owner, field.name)
        if field.type == "int" and not isinstance(value, int):
            raise SettingError(f"{field.name} is {value!r}: it must be a whole number")
        if field.type == "float" and not isinstance(value, (int, float)):
            raise SettingError(f"{field.name} is {value!r}: it must be a number, of seconds")


def _at_least(owner: object, name: str, least: float) -> None:
    value = getattr(owner, name)
    if not math.isfinite(value) or value < least:
        unit = " (seconds)" if isinstance(least, float) else ""
        raise SettingError(f"{name} is {value}: it must be at least {least}{unit}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything but the size of the pool."""

    capacity: int = 1
    policy: str = ""
    """A name in :data:`POLICIES`; empty is ``lowest`` at capacity 1 and ``least-loaded`` above."""
    max_per_order: int = 16
    order_deadline: float = 0.1
    order_deadline_doublings: int = 10
    silence_deadline: float = 30.0
    start_deadline: float = 30.0
    drain_deadline: float = 30.0
    exit_deadline: float = 5.0
    stop_deadline: float = 5.0
    cool_down: float = 0.1
    short_in_a_row: int = 3
    coalesce: float = 0.01
    capacity_ceiling: int = 1 << 20
    frames_per_turn: int = 64

    def __post_init__(self) -> None:
        _check_types(self)
        if not self.policy:
            object.__setattr__(self, "policy", "lowest" if self.capacity == 1 else "least-loaded")
        if self.policy not in POLICIES:
            raise SettingError(f"policy is {self.policy!r}: choose one of {', '.join(POLICIES)}")
        for name in ("capacity", "max_per_order", "short_in_a_row", "frames_per_turn"):
            _at_least(self, name, 1)
        for name in ("order_deadline_doublings", "coalesce"):
            _at_least(self, name, 0)
        for field in fields(self):
            if field.name.endswith("deadline") or field.name == "cool_down":
                _at_least(self, field.name, 0.001)
        if self.capacity > self.capacity_ceiling:
            raise SettingError(
                f"capacity is {self.capacity}: it must be at most {self.capacity_ceiling} (capacity_ceiling)"
            )


@dataclass(frozen=True, slots=True)
class Scaling:
    """The size of the pool; ``min_spare`` and ``max_spare`` count connections, the rest workers."""

    start: int = 2
    min: int = 1
    max: int = 8
    min_spare: int = 1
    max_spare: int = 4
    period: float = 1.0
    """The specification's *pass*: acting passes are at least this far apart."""
    spawn_rate_ceiling: int = 32
    max_draining: int = 8
    early_exit: float = 5.0
    early_exit_delay: float = 1.0
    early_exit_delay_ceiling: float = 32.0

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("min", "max", "spawn_rate_ceiling", "max_draining"):
            _at_least(self, name, 1)
        for name in ("start", "min_spare", "max_spare", "early_exit", "early_exit_delay"):
            _at_least(self, name, 0)
        _at_least(self, "period", 0.001)
        if self.max > MOST_WORKERS:
            raise SettingError(f"max is {self.max}: it must be at most {MOST_WORKERS}")
        if self.min > self.max:
            raise SettingError(f"min is {self.min} and max {self.max}: min must not be above max")
        if not self.min <= self.start <= self.max:
            raise SettingError(f"start is {self.start}: it must be between min ({self.min}) and max ({self.max})")
        if self.min_spare > self.max_spare:
            raise SettingError(
                f"min_spare is {self.min_spare} and max_spare {self.max_spare}: min_spare must not be above max_spare"
            )
        if self.early_exit_delay_ceiling < self.early_exit_delay:
            raise SettingError(
                f"early_exit_delay_ceiling is {self.early_exit_delay_ceiling}: "
                f"it must be at least early_exit_delay ({self.early_exit_delay})"
            )

    @classmethod
    def fixed(cls, workers: int) -> Scaling:
        """A pool that always has ``workers`` workers."""
        return cls(start=workers, min=workers, max=workers, min_spare=0, max_spare=1 << 40)
