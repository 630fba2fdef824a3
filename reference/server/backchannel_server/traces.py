"""A trace of the parent, for whoever looks for a fault: set ``BACKCHANNEL_TRACE`` to a directory.

Each parent then writes a file of its own there, a line for each thing that it learns and does
(:mod:`backchannel.trace`). It is slow, and for tests and hunts only. One that cannot be written ends, which is said
once; the pool goes on.
"""

from __future__ import annotations

import logging
import os
import time

from backchannel import Parent
from backchannel.trace import record

__all__ = ["VARIABLE", "trace_if_asked"]

log = logging.getLogger("backchannel")

VARIABLE = "BACKCHANNEL_TRACE"


def trace_if_asked(parent: Parent) -> None:
    """Record ``parent`` if the environment names a directory."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return
    path = os.path.join(folder, f"parent-{os.getpid()}-{time.monotonic_ns()}.jsonl")

    ended = False

    def write(line: str) -> None:
        nonlocal ended
        if ended:
            return
        try:
            # closed between lines, so that no worker inherits it
            with open(path, "a") as file:
                file.write(line)
        except OSError as error:
            ended = True  # with a gap it would tell of things that have not happened
            text = "the trace %s ends here (%s): for a complete one, fix that and restart the server"
            log.error(text, path, error.strerror, extra={"event": "trace ended"})

    record(parent, write)
