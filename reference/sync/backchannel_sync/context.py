"""Who am I? What a handler may ask about the worker it runs in."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WorkerInfo", "current_worker", "enter"]


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """The worker that this process is."""

    slot: int
    capacity: int


_current: WorkerInfo | None = None


def current_worker() -> WorkerInfo:
    """The worker that this process is. ``RuntimeError`` outside a worker."""
    if _current is None:
        raise RuntimeError("this process is no worker: current_worker() is for handlers")
    return _current


def enter(info: WorkerInfo) -> None:
    """This process is a worker now."""
    global _current
    _current = info
