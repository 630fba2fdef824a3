"""A forked worker of this reference: its handler decides of which kind it is."""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Callable, Sequence
from types import FrameType

from backchannel import CONFIGURATION, Settings
from backchannel_server.context import WorkerInfo, enter, retires_after
from backchannel_server.errors import StartError
from backchannel_server.fork_binding import Reasons
from backchannel_server.handlers import Handler, explain
from backchannel_server.leaving import end_within

from . import kinds
from .traditional import run as run_traditional

__all__ = ["work"]


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Of a traditional worker that loads its code: until it can accept, it holds nothing."""
    os._exit(0)


def work(
    slot: int,
    channel: socket.socket,
    listeners: Sequence[socket.socket],
    find_handler: Callable[[], Handler],
    settings: Settings,
    quota: int,
    poller: str,
    reasons: Reasons,
    *,
    traditional: bool = False,
) -> int:
    """Be a worker, from loading the handler to the end. Returns the exit status."""
    gc.enable()
    gc.freeze()  # what the parent had is never looked through for garbage here, so its pages stay shared
    enter(WorkerInfo(slot, settings.capacity))
    if traditional:
        signal.signal(signal.SIGTERM, _leave)
    try:
        handler = find_handler()
    except StartError as error:
        reasons.give(str(error))
        return error.status if error.status != 2 else CONFIGURATION
    except BaseException as error:
        reasons.give(explain(error))
        return CONFIGURATION
    reasons.close()
    quota = retires_after(quota, slot)
    if traditional:
        status = run_traditional(channel, listeners[0], handler, quota=quota)
    else:
        status = kinds.run(
            channel,
            listeners,
            handler,
            capacity=settings.capacity,
            drain_deadline=settings.drain_deadline,
            quota=quota,
            poller=poller,
        )
    end_within(settings.drain_deadline, status)
    return status
