"""Building a port before it is tested: the ``[build]`` command of its manifest.

With it, a port in a compiled language is tested from a fresh clone by the one command that tests any other.
"""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from . import processes
from .errors import UsageError

__all__ = ["build"]

LIMIT = 600.0
"""Seconds that a build may take."""
KEPT = 1500
"""Octets of what it says last."""


def build(manifest: Path, command: Sequence[str], needs: Sequence[str]) -> None:
    """Run ``command``. Raises :class:`UsageError` that says what is missing, or what the build said last."""
    for program in (*needs, command[0]):
        if shutil.which(program) is None:
            raise UsageError(
                f"manifest {manifest}: it is built with {program!r}, and there is no such program here; "
                "install it, or leave this manifest out"
            )
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        processes.note(process.pid)
        try:
            said = _listen(process)
        except (TimeoutError, subprocess.TimeoutExpired):
            raise UsageError(f"manifest {manifest}: build.command had not ended after {LIMIT:g} s") from None
        finally:
            if process.returncode is None:
                processes.end(process)
            processes.forget(process.pid)
    if process.returncode:
        last = said.decode(errors="backslashreplace").strip() or "it said nothing"
        raise UsageError(f"manifest {manifest}: build.command failed with status {process.returncode}:\n{last}")


def _listen(process: subprocess.Popen[bytes]) -> bytes:
    """The end of what it says, which may be much, when it has ended. ``TimeoutError``: it has not ended in time."""
    assert process.stdout is not None
    said = b""
    deadline = time.monotonic() + LIMIT
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        ended = False
        while not ended:
            # asked first: what it wrote itself is there by then, and a process that it leaves behind may go on writing
            ended = process.poll() is not None
            if selector.select(0 if ended else 0.05):
                part = os.read(process.stdout.fileno(), 1 << 16)
                said = (said + part)[-KEPT:]
                if not part:  # it has closed its output, and may go on
                    process.wait(max(0.0, deadline - time.monotonic()))
                    break
            if time.monotonic() > deadline:
                raise TimeoutError
    return said
