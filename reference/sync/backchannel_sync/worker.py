"""``python -m backchannel_sync.worker MODULE:HANDLER``: a worker of the exec binding, for a parent in any language.

Exit status: 78 when what a parent leaves is missing or senseless, or when the handler cannot be loaded; 76 when the
parent broke the protocol. Why is said on standard error, which is the parent's log as a rule.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from backchannel import ExecStart
from backchannel_server import exec_worker
from backchannel_server.handlers import check, load_to_serve

from . import kinds

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Be a worker; return the exit status."""
    handler = "a function of a socket, or a generator function of a connection"
    return exec_worker.main("backchannel_sync.worker", "A worker", handler, _work, arguments)


def _work(name: str, start: ExecStart, channel: socket.socket, listeners: Sequence[socket.socket], quota: int) -> int:
    handler = load_to_serve(name)
    check(handler, start.capacity)
    return kinds.run(
        channel, listeners, handler, capacity=start.capacity, drain_deadline=start.drain_deadline, quota=quota
    )


if __name__ == "__main__":
    raise SystemExit(main())
