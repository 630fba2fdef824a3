"""Who am I? What a handler may ask about the worker it runs in, and what it may say of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["WorkerInfo", "brief", "current_worker", "enter", "is_brief", "retires_after"]

AnyHandler = TypeVar("AnyHandler", bound=Callable[..., Any])

_BRIEF = "__backchannel_brief__"


def brief(handler: AnyHandler) -> AnyHandler:
    """Declare that ``handler`` never blocks and needs less than a millisecond or so, until it ends or waits.

    Its worker serves before it answers the order, and tells of a connection and of its end at once (BC-BUSY-05). A
    handler that is slow all the same makes its worker suspect: nothing is lost, but its connections are waited for.
    A plain function that reads from its socket blocks whenever the client has not sent yet: declare it brief only
    where that cannot be, as behind a proxy that has the whole request.
    """
    setattr(handler, _BRIEF, True)
    return handler


def is_brief(handler: Callable[..., Any]) -> bool:
    """Whether ``handler`` was declared :func:`brief`."""
    return bool(getattr(handler, _BRIEF, False))


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


_GOLDEN = (5**0.5 - 1) / 2


def retires_after(quota: int, slot: int) -> int:
    """After how many connections the worker in ``slot`` retires: from ``quota`` to twice as many, 0 if ``quota`` is 0.

    Workers that began together and are ordered evenly would otherwise all retire together, and leave nobody to serve
    while their successors load their code. Multiples of the golden ratio, without what is before the point, lie far
    from each other however many there are, so each slot has a number of its own, and always the same. Slot 0 has
    ``quota`` itself.
    """
    return quota + int(quota * (slot * _GOLDEN % 1))
