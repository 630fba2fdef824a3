"""Who am I? What a handler may ask about the worker it runs in, and what it may say of itself.

A process that a handler forks is not a worker: it is as if any Python program had forked it. What the worker holds
for its work is closed in it, and what signals do there is the usual thing again. ``fork`` alone needs this; a program
that is run gets nothing of all that.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from .signals import PARENTS

__all__ = [
    "WorkerInfo",
    "brief",
    "current_worker",
    "enter",
    "is_brief",
    "is_draining",
    "keep_from_children",
    "leave_if_forked",
    "retires_after",
    "slot_for_log",
    "tell_of_drain",
]

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


class WorkerInfo(NamedTuple):
    """The worker that this process is."""

    slot: int
    capacity: int

    @property
    def draining(self) -> bool:
        """Whether the drain has begun: no connection comes any more, and the worker ends when those it has do.

        A reload, a stop, a hand-over, a quota or a pool that shrinks begins it; so does the death of the parent. In a
        worker of capacity 1, each look is a system call.
        """
        return is_draining()

    def wait_draining(self) -> Awaitable[None]:
        """``await`` the beginning of the drain, in an async handler; at once if it has begun.

        ``RuntimeError`` in a worker that has no async handlers: a generator yields ``Wait(…, drain=True)``, a plain
        function asks :attr:`draining`.
        """
        if _wait is None:
            raise RuntimeError("wait_draining() is for async handlers: ask draining, or yield Wait(..., drain=True)")
        return _wait()


def _not_draining() -> bool:
    return False


_current: WorkerInfo | None = None
_draining: Callable[[], bool] = _not_draining
_wait: Callable[[], Awaitable[None]] | None = None
_kept: tuple[socket.socket, ...] = ()
_forked = False


def current_worker() -> WorkerInfo:
    """The worker that this process is. ``RuntimeError`` outside a worker."""
    if _current is None:
        raise RuntimeError("this process is not a worker: current_worker() is for handlers")
    return _current


def is_draining() -> bool:
    """:attr:`WorkerInfo.draining`, for the workers themselves."""
    return _draining()


def enter(info: WorkerInfo) -> None:
    """This process is a worker now."""
    global _current
    _current = info


_GOLDEN = (5**0.5 - 1) / 2


def retires_after(quota: int, slot: int) -> int:
    """After how many connections the worker in ``slot`` retires: from ``quota`` to twice as many, 0 if ``quota`` is 0.

    Workers that began together and are ordered evenly would otherwise all retire together, and leave none to serve
    while new ones load their code. Multiples of the golden ratio, without what is before the point, lie far
    from each other however many there are, so each slot has a number of its own, and always the same. Slot 0 has
    ``quota`` itself.
    """
    return quota + int(quota * (slot * _GOLDEN % 1))


def tell_of_drain(draining: Callable[[], bool], wait: Callable[[], Awaitable[None]] | None = None) -> None:
    """In a worker: how a handler learns of the drain, and how an async one waits for it."""
    global _draining, _wait
    _draining, _wait = draining, wait


def keep_from_children(*sockets: socket.socket) -> None:
    """Close ``sockets`` in each process that is forked from now on: the channel would hide the worker's end from its
    parent, and a listener would keep the port.
    """
    global _kept
    _kept = sockets


def slot_for_log() -> int | None:
    """This worker's slot."""
    return None if _current is None else _current.slot


def leave_if_forked(error: BaseException | None = None) -> None:
    """In a process that a handler has forked, which has come back from the handler: exit.

    It would go on as a second worker on the same channel. The status is what Python gives: that of ``SystemExit``, 1
    for another error, 0 without one.
    """
    if not _forked:
        return
    status = 0
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    elif error is not None:
        status = 1
        traceback.print_exception(error)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status & 0xFF)


_masks: list[set[int]] = []


def _hold_signals() -> None:
    """A signal that comes to the child before its dispositions are the usual ones would be taken for the worker's, and
    do nothing: ``Process.terminate()`` right after ``start()``, as at the exit of a worker, would be waited for in
    vain.
    """
    if _current is not None and not _forked:
        _masks.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, (*PARENTS, signal.SIGCHLD))))


def _let_signals_in() -> None:
    if _masks:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop())


def _forked_by_a_handler() -> None:
    global _draining, _wait, _kept, _forked
    if _current is None or _forked:
        return  # a worker; a child of a program that is none; a child of such a child, which has what that one has set
    _draining, _wait, _forked = _not_draining, None, True
    signal.set_wakeup_fd(-1)
    for number in (*PARENTS, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for held in _kept:
        held.close()
    _kept = ()
    _let_signals_in()


os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals_in, after_in_child=_forked_by_a_handler)
