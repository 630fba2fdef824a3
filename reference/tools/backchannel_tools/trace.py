"""``python -m backchannel_tools.trace FILE``: read what went over a channel.

Prints a line for each frame, written as in the specification's examples, or a sequence chart (``--chart``). ``FILE`` is
a parent's trace, frames in hexadecimal, or octets as they were read; without one it is standard input.

Exit status: 0; 1 when there is nothing of that kind in it; 2 for options that make no sense.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from backchannel.printing import printable

from .capture import NOTE, CaptureError, Event, describe, read
from .chart import draw
from .output import NotTaken, put

__all__ = ["lines", "main"]

LARGEST: Final = 1 << 28
"""Octets of a capture at most: all of it is kept in memory."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m backchannel_tools.trace",
        description="Print what went over a channel, a line for each frame or as a sequence chart.",
        epilog="A reference's parent writes a trace into the directory that the variable BACKCHANNEL_TRACE names.",
    )
    parser.add_argument("file", type=Path, nargs="?", help="a trace, hexadecimal lines, or octets (default: stdin)")
    parser.add_argument("--chart", action="store_true", help="draw a sequence chart")
    parser.add_argument("--ascii", action="store_true", help="draw it in ASCII")
    parser.add_argument("--worker", action="append", metavar="SLOT", help="only this one; may be given again")
    parser.add_argument("--frames", action="store_true", help="frames alone, nothing else that happened")
    options = parser.parse_args(arguments)
    try:
        data = _all_of(options.file)
        events = [event for event in read(data) if _wanted(event, options.worker, options.frames)]
        if not events:
            raise CaptureError("there is no frame in it")
    except OSError as error:
        print(f"trace: {options.file}: {error.strerror}", file=sys.stderr)
        return 1
    except CaptureError as error:
        print(f"trace: {options.file or 'standard input'}: {printable(str(error))}", file=sys.stderr)
        return 1
    try:
        with put():
            for line in draw(events, ascii_only=options.ascii) if options.chart else lines(events):
                print(line)
    except NotTaken as error:
        if str(error):
            print(f"trace: {error}", file=sys.stderr)
            return 1
    except UnicodeEncodeError:
        print("trace: this terminal's encoding has no such lines: use --ascii", file=sys.stderr)
        return 1
    return 0


def _all_of(path: Path | None) -> bytes:
    with contextlib.nullcontext(sys.stdin.buffer) if path is None else path.open("rb") as file:
        data: bytes = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise CaptureError(f"it is larger than {LARGEST} octets; give a part of it")
    return data


def lines(events: Sequence[Event]) -> Iterator[str]:
    """Each event as a line; without times and workers where the capture has none."""
    timed = any(event.when is not None for event in events)
    width = max(len(event.worker) for event in events)
    for event in events:
        time = "" if not timed else " " * 11 if event.when is None else f"{event.when:9.4f}  "
        if event.side == NOTE:
            who = f"slot {event.worker} " if event.worker else ""
            yield f"{time}-{' ' * width}  {who}{event.text}"
        else:
            octets = event.data.hex(" ", 4)
            yield f"{time}{event.side}{event.worker.ljust(width)}  {octets}  {describe(event.data)}"


def _wanted(event: Event, workers: list[str] | None, frames: bool) -> bool:
    if frames and event.side == NOTE:
        return False
    return workers is None or event.worker in workers or (event.side == NOTE and not event.worker)


if __name__ == "__main__":
    raise SystemExit(main())
