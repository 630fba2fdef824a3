"""``python -m backchannel_sync.worker MODULE:HANDLER``: a worker of the exec binding, for a parent in any language.

The channel is descriptor 3, the listeners follow, the rest is in the environment (BC-EXEC-01, BC-EXEC-02). Exit
status: 78 when that is missing or senseless, or when the handler cannot be loaded; 76 when the parent broke the
protocol. Why is said on standard error, which is the parent's log as a rule.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence

from backchannel import CONFIGURATION, ExecStart
from backchannel_server.context import WorkerInfo, enter, retires_after
from backchannel_server.errors import StartError
from backchannel_server.exec_worker import inherit
from backchannel_server.handlers import check, load_to_serve
from backchannel_server.leaving import end_within
from backchannel_server.logs import FORMATS, configure
from backchannel_server.signals import leave_to_the_parent
from backchannel_server.standard import flush, say

from . import kinds

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Be a worker; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m backchannel_sync.worker",
        description="A worker that a parent starts by the exec binding. It is of no use without one.",
    )
    parser.add_argument("handler", metavar="MODULE:HANDLER")
    parser.add_argument(
        "--quota", type=int, default=0, metavar="N", help="retire after N to 2N connections, by the slot (0: never)"
    )
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--log-format", default="text", choices=FORMATS, help="json: one object a line")
    options = parser.parse_args(arguments)
    leave_to_the_parent()
    configure(options.log_level, options.log_format)
    try:
        start, channel, listeners = inherit()
    except StartError as error:
        return _cannot_start(error)
    try:
        return _work(start, channel, listeners, options.handler, options.quota)
    finally:
        for sock in (channel, *listeners):
            sock.close()
        flush(last=True)


def _work(start: ExecStart, channel: socket.socket, listeners: Sequence[socket.socket], name: str, quota: int) -> int:
    try:
        enter(WorkerInfo(start.slot, start.capacity))
        handler = load_to_serve(name)
        check(handler, start.capacity)
        quota = retires_after(quota, start.slot)
    except StartError as error:
        return _cannot_start(error)
    status = kinds.run(
        channel, listeners, handler, capacity=start.capacity, drain_deadline=start.drain_deadline, quota=quota
    )
    end_within(start.drain_deadline)
    return status


def _cannot_start(error: StartError) -> int:
    say(f"backchannel_sync.worker: {error}")
    return CONFIGURATION


if __name__ == "__main__":
    raise SystemExit(main())
