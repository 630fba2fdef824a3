"""A trace of the parent, for whoever looks for a fault: set ``BACKCHANNEL_TRACE`` to a directory.

Each parent then writes a file of its own there, a line for each thing that it learns and does
(:mod:`backchannel.tracing`). It is slow, and for tests and hunts only.
"""

from __future__ import annotations

import os
import time

from backchannel import Parent
from backchannel.tracing import record

__all__ = ["VARIABLE", "trace_if_asked"]

VARIABLE = "BACKCHANNEL_TRACE"


def trace_if_asked(parent: Parent) -> None:
    """Record ``parent`` if the environment names a directory."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return
    path = os.path.join(folder, f"parent-{os.getpid()}-{time.monotonic_ns()}.jsonl")

    def write(line: str) -> None:
        # closed between lines, so that no worker inherits it
        with open(path, "a") as file:
            file.write(line)

    record(parent, write)
