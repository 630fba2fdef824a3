"""Everything at once, for as long as you like: ``python conformance/soak --minutes N``, which is ``nox -s soak``.

A pool serves clients that never pause, while its workers are killed and stopped, its parent is stopped, it is reloaded
and replaced, and ten times more clients than it has room for come at once. Each client is accounted for. The verdict is
at the end, with the figures and a plot of memory, workers and latency; the exit status is 1 if anything was not as
promised.

Needs a kernel that tells which process holds which connection: Linux.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import plot
from backchannel_conformance import kernel, manifest
from backchannel_conformance.cli import say_whose_rights
from backchannel_conformance.errors import UsageError
from backchannel_conformance.port_output import MOST_WRITTEN, printable
from run import Run


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python conformance/soak", description="Soak a pool, and judge it.")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="for each pool (default 10)")
    parser.add_argument("--impl", action="append", default=[], metavar="NAME", help="default sync; may be repeated")
    parser.add_argument("--manifest", action="append", default=[], type=Path, metavar="FILE", help="one of yours")
    parser.add_argument("--capacity", type=int, default=4, metavar="N", help="of each worker (default 4)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of who is killed (default 1)")
    parser.add_argument("--report", type=Path, default=Path("build/soak"), metavar="DIR")
    options = parser.parse_args()
    if options.minutes <= 0:
        parser.error(f"--minutes {options.minutes:g}: give a number above 0")
    if options.capacity < 1:
        parser.error(f"--capacity {options.capacity}: give a number from 1 up")
    if missing := [question for question in ("clients", "state", "memory") if not kernel.can(question)]:
        parser.error(f"untestable here: {kernel.missing(missing[0])}")
    return options


def main() -> int:
    """Soak each implementation that was named."""
    options = arguments()
    options.report.mkdir(parents=True, exist_ok=True)
    status = 0
    say_whose_rights()
    try:
        targets = [manifest.find(name) for name in options.impl] + [manifest.load(path) for path in options.manifest]
    except UsageError as error:
        print(f"python conformance/soak: {error}", file=sys.stderr)
        return 2
    for target in targets or [manifest.find("sync")]:
        name = target.name
        if "pool" not in target.roles or "status" not in target.roles["pool"].placeholders:
            print(f"python conformance/soak: {name} offers no pool with a status, which this asks", file=sys.stderr)
            return 2
        with tempfile.TemporaryDirectory(prefix="bc-soak-") as folder, kernel.limits.files(MOST_WRITTEN):
            run = Run(target, options.minutes * 60, options.capacity, options.seed, Path(folder) / "log")
            run.go()
        print(f"\n{name}, capacity {options.capacity}, {options.minutes:g} minutes, seed {options.seed}")
        for line in run.lines():
            print(printable(f"  {line}"))
        (options.report / f"{name}.svg").write_text(plot.page(f"{name}: {options.minutes:g} minutes", run.samples))
        document = {"figures": run.figures, "verdict": run.verdict, "samples": run.samples}
        (options.report / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
        print(f"  {options.report / name}.svg, .json")
        status |= not run.held
    return status


if __name__ == "__main__":
    raise SystemExit(main())
