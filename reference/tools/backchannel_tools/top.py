"""``python -m backchannel_tools.top STATUS``: watch a pool through its status socket.

In a terminal, with rich installed, it is a live view; otherwise it prints once. ``--json`` and ``--prometheus`` are for
machines. Exit status: 0; 1 when there is no pool to look at; 2 for options that make no sense.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from backchannel.printing import printable

from . import plain, prometheus
from .output import NotTaken, put
from .status import Rates, Sample, StatusError, read

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m backchannel_tools.top",
        description="Watch a pool through its status socket (its option --status).",
        epilog="In a terminal the view is live if rich is there: pip install rich.",
    )
    parser.add_argument("status", type=Path, metavar="STATUS", help="path of the status socket")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds between looks (default 1)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="print once")
    how.add_argument("--rates", action="store_true", help="print once, after two looks, with rates")
    how.add_argument("--json", action="store_true", help="print the pool's document, and what follows from it, as JSON")
    how.add_argument("--pid", action="store_true", help="print the parent's process id, as for kill")
    how.add_argument("--prometheus", action="store_true", help="print in Prometheus's text format")
    options = parser.parse_args(arguments)
    if not 0.05 <= options.interval <= 3600:
        parser.error(f"--interval {options.interval:g}: give seconds between 0.05 and 3600")
    try:
        if options.json:
            _print(json.dumps(as_json(read(options.status))) + "\n")
        elif options.prometheus:
            _print(prometheus.text(read(options.status)))
        elif options.pid:
            _print(f"{read(options.status).parent}\n")
        elif options.rates:
            before = read(options.status)
            time.sleep(options.interval)
            after = read(options.status)
            _print(plain.text(after, Rates.between(before, after)))
        elif options.once or not _live():
            _print(plain.text(read(options.status)))
        else:
            from .live import show

            show(options.status, options.interval)
    except NotTaken as error:
        if str(error):
            print(f"top: {error}", file=sys.stderr)
            return 1
    except (StatusError, RecursionError) as error:
        text = str(error) if isinstance(error, StatusError) else "the document is nested too deeply to be printed"
        print(f"top: {printable(text)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def as_json(sample: Sample) -> dict[str, object]:
    """The pool's own document, with what is computed from it under ``derived``."""
    derived = {"open": sample.open, "capacity": sample.capacity, "spare": sample.spare, "served": sample.served}
    return {**sample.document, "derived": derived}


def _print(text: str) -> None:
    with put():
        print(text, end="")


def _live() -> bool:
    return sys.stdout.isatty() and importlib.util.find_spec("rich") is not None


if __name__ == "__main__":
    raise SystemExit(main())
