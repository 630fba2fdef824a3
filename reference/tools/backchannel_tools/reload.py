"""``python -m backchannel_tools.reload STATUS``: new code, and wait until it serves.

Sends SIGHUP to the parent whose status socket is named, if the system confirms that the socket is that process's, and
waits for the end of the reload: nobody has to know the number of a generation, or when to ask. Old workers may still
finish what they hold. Exit status: 0 when the new generation serves; 1 when it does not, and the old one does; 2 for
options that make no sense.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from backchannel.printing import printable

from .output import NotTaken, put
from .status import Sample, StatusError, read

__all__ = ["main"]

PERIOD = 0.05
"""Seconds between looks."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m backchannel_tools.reload",
        description="Reload a pool (SIGHUP), and wait until the new generation serves.",
    )
    parser.add_argument("status", type=Path, metavar="STATUS", help="path of the status socket")
    options = parser.parse_args(arguments)
    try:
        done = reload(options.status)
    except StatusError as error:
        print(f"reload: {printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if done.fell_through:
        text = "cannot start, the old one goes on serving; the pool's log says why. Fix it, and reload again"
        print(f"reload: generation {done.generation} {text}", file=sys.stderr)
        return 1
    try:
        with put():
            print(f"generation {done.generation} serves")
    except NotTaken as error:  # which changes nothing: it serves
        if str(error):
            print(f"reload: generation {done.generation} serves, but {error}", file=sys.stderr)
    return 0


def reload(path: Path) -> Sample:
    """Reload the pool whose status socket is ``path``; return how it is when that is over. Raises
    :class:`StatusError`.
    """
    before = read(path)
    if before.generation is None:
        raise StatusError(f"{path}: this pool does not tell its generation, so the end of a reload cannot be seen")
    if before.state != "running":
        raise StatusError(f"{path}: the pool is {before.state}, and does not reload")
    try:
        os.kill(before.parent, signal.SIGHUP)
    except OSError as error:
        raise StatusError(f"{path}: the parent, process {before.pid}, cannot be signalled: {error.strerror}") from None
    except StatusError as error:
        raise StatusError(f"{path}: {error}") from None
    while True:
        now = read(path)
        if now.pid != before.pid:
            raise StatusError(f"{path}: process {before.pid} has handed over to {now.pid} before it had reloaded")
        if now.generation != before.generation and not now.document.get("reloading"):
            return now
        if now.state != "running":
            raise StatusError(f"{path}: the pool is {now.state} by now, and does not reload")
        time.sleep(PERIOD)


if __name__ == "__main__":
    raise SystemExit(main())
