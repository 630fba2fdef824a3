"""``nox -s bench``: measure the back-channel beside every alternative, print the table, write JSON and plots.

Everything is a ratio of pairs measured alternately in this run, with its 90 % interval; what one machine did in one
minute is in the JSON file, and in no document.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import comparisons
import plots
import single_metrics
from comparisons import Comparison, Decided
from load_generator import LoadGenerator
from ratios import plain
from scenarios import cross_product, scenarios

__all__ = ["main"]

FIGURES = {
    "throughput": "answers a second",
    "all.p50": "latency, median",
    "all.p99": "latency, 99th percentile",
    "light.p99": "latency of light requests, 99th percentile",
    "spread": "connections on the fullest minus the emptiest worker",
    "last": "time until the last is served",
    "touched": "processes that served",
}
"""What the chart of a comparison shows: the figure of its first row."""
SINGLE_METRICS: dict[str, Callable[[LoadGenerator, float], object]] = {
    "calls": single_metrics.calls,
    "memory": single_metrics.memory,
    "core": single_metrics.core,
    "ramp": single_metrics.ramp,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return 1 if a goal was missed, 2 if a connection was lost."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--quick", action="store_true", help="under 2 minutes: shorter slices, the same rounds")
    pace.add_argument("--full", action="store_true", help="the whole cross-product besides: hours")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="only these comparisons (see --list)"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the comparisons")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), metavar="DIR", help="default: build/bench")
    options = parser.parse_args(arguments)
    if not sys.platform.startswith("linux"):
        parser.error("EPOLLEXCLUSIVE is Linux's own, and so is this comparison: run it on Linux")
    speed = 0.1 if options.quick else 1.0
    chosen = [*scenarios(speed), *(cross_product(speed) if options.full else ())]
    names = [*(comparison.key for comparison in chosen), *SINGLE_METRICS]
    if options.list:
        print(*names, sep="\n")
        return 0
    if unknown := set(options.only) - set(names):
        parser.error(f"no comparison is called {', '.join(sorted(unknown))}: --list prints their names")
    wanted = set(options.only or names)
    return _run([comparison for comparison in chosen if comparison.key in wanted], wanted, speed, options.out)


def _run(chosen: Sequence[Comparison], wanted: set[str], speed: float, out: Path) -> int:
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    load = LoadGenerator()
    decided: list[Decided] = []
    raw: dict[str, object] = {}
    lost: list[str] = []
    try:
        for comparison in chosen:
            samples = comparisons.run(comparison, load, _progress)
            raw[comparison.key] = {"title": comparison.title, "samples": samples}
            lost += [f"{comparison.key}: {name}" for name, each in samples.items() if any(s["errors"] for s in each)]
            found = comparisons.decide(comparison, samples)
            decided += found
            _print(comparison.title, found)
            _plot(out / f"{comparison.key}.svg", comparison.title, found)
        for name, measure in SINGLE_METRICS.items():
            if name not in wanted:
                continue
            if name == "ramp":
                points = single_metrics.ramp(load, speed)
                raw["ramp"] = points
                text = plots.lines(
                    "48 clients come to a pool of 2, and leave", "seconds", "workers", [("workers", points)]
                )
                (out / "ramp.svg").write_text(text)
            else:
                found = list(measure(load, speed))  # type: ignore[call-overload]
                decided += found
                _print(name, found)
    finally:
        load.close()
    missed = [one for one in decided if one.verdict == "MISSED"]
    document = {
        "machine": {"processors": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "load_average": os.getloadavg(),
        "seconds": time.monotonic() - began,
        "pace": speed,
        "rows": [
            {"comparison": one.comparison, **asdict(one.row), **asdict(one.estimate), "verdict": one.verdict}
            for one in decided
        ],
        "lost": lost,
        "raw": raw,
    }
    (out / "bench.json").write_text(json.dumps(document))
    _write_rows(out / "rows.csv", decided)
    print(
        f"\n{len(decided)} rows in {time.monotonic() - began:.0f} s, {len(missed)} missed; {out}/bench.json", flush=True
    )
    for name in lost:
        print(f"connections were lost or never answered: {name}", file=sys.stderr)
    return 2 if lost else 1 if missed else 0


def _write_rows(path: Path, decided: Sequence[Decided]) -> None:
    """The table, for the documentation."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        for one in decided:
            value, unit = one.estimate, one.row.unit
            figure = f"{plain(value.value)} {unit}".rstrip()
            between = f"{plain(value.low)} to {plain(value.high)}"
            writer.writerow([one.row.text, figure, between, one.row.goal, one.verdict])


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:60}", end="\r", file=sys.stderr, flush=True)


def _print(title: str, found: Sequence[Decided]) -> None:
    print(f"\n{title}")
    for one in found:
        value, unit = one.estimate, f" {one.row.unit}" if one.row.unit else ""
        interval = f"{plain(value.value):>8}{unit} [{plain(value.low)}, {plain(value.high)}]"
        print(f"  {one.row.text:70} {interval:32} {one.row.goal:14} {one.verdict}", flush=True)


def _plot(path: Path, title: str, found: Sequence[Decided]) -> None:
    if not found:
        return
    first = found[0].row  # what the comparison is about; after churn, too
    shown = [one for one in found if one.row.how == first.how and one.row.figure.startswith(first.figure)]
    ratios = first.how == "ratio"
    entries = []
    for one in shown:
        against = f" / {one.row.reference}" if one.row.reference else ""
        entries.append(((one.row.label or one.row.subject) + against, one.estimate))
    what = FIGURES[first.figure] + {"ratio": ", as a ratio", "difference": ", beyond the other's"}.get(first.how, "")
    path.write_text(plots.bars(title, what, "" if ratios else first.unit, entries, 1.0 if ratios else None))


if __name__ == "__main__":
    raise SystemExit(main())
