"""How many faults does the suite find that nobody thought of? ``python conformance/mutation``: ``nox -s mutation``.

Each mutant is the sync reference with one mechanical change (:mod:`sites`). The suite's roles run against it until a
case fails: then it is killed. One that passes all cases has survived: a check is missing, unless ``equivalent.toml``
says why it cannot be told from the reference by anything outside.

    python conformance/mutation --sample 40 --seed 1        # a part, the same for the same seed
    python conformance/mutation --module backchannel.sizing # one module, all of it
    python conformance/mutation --list
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sites import Site, sites_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EQUIVALENT = HERE / "equivalent.toml"

PARENT, WORKER = ("parent",), ("worker",)
MODULES = {
    "backchannel.frames": ("codec", "worker", "parent"),
    "backchannel.exec_binding": ("worker", "parent"),
    "backchannel.worker": WORKER,
    "backchannel.candidates": PARENT,
    "backchannel.deadlines": PARENT,
    "backchannel.dispatch": PARENT,
    "backchannel.reload": PARENT,
    "backchannel.backlog": PARENT,
    "backchannel.parent": PARENT,
    "backchannel.failures": PARENT,
    "backchannel.lifecycle": PARENT,
    "backchannel.reports": PARENT,
    "backchannel.sizing": PARENT,
    "backchannel.slots": PARENT,
    "backchannel_server.accepting": WORKER,
    "backchannel_sync.blocking": WORKER,
    "backchannel_sync.events": WORKER,
    "backchannel_sync.worker": WORKER,
    "backchannel_server.arrivals": PARENT,
    "backchannel_server.channels": PARENT,
    "backchannel_server.driver": PARENT,
    "backchannel_sync.parent": PARENT,
    "backchannel_server.exec_binding": PARENT,
}
"""What is changed, and the roles that run it: the first ones are the likeliest to notice."""


@dataclass(frozen=True)
class Verdict:
    """What came of one mutant."""

    site: Site
    killed: bool
    by: str
    seconds: float


def path_of(module: str) -> Path:
    """The module's file."""
    package = module.partition(".")[0]
    folder = {"backchannel": "core", "backchannel_server": "server", "backchannel_sync": "sync"}[package]
    return ROOT / "reference" / folder / f"{module.replace('.', '/')}.py"


def all_sites(modules: Sequence[str]) -> list[Site]:
    """Every site of ``modules``."""
    return [site for module in modules for site in sites_of(module, path_of(module).read_text())]


def equivalent() -> dict[str, str]:
    """Sites that nothing outside can tell from the reference, each with the reason."""
    if not EQUIVALENT.exists():
        return {}
    return {entry["site"]: entry["why"] for entry in tomllib.loads(EQUIVALENT.read_text()).get("equivalent", [])}


def judge(site: Site, folder: Path, factor: float, limit: float) -> Verdict:
    """Run the suite against the reference with ``site`` changed, until a case fails."""
    began = time.monotonic()
    changed = folder / f"{site.id.replace(':', '-')}.py"
    changed.write_text(site.apply(path_of(site.module).read_text()))
    command = [sys.executable, str(HERE / "one.py"), site.module, str(changed), str(factor), *MODULES[site.module]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        try:
            said, _ = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            # it and what it started: a mutant may hang wherever it likes
            os.killpg(child.pid, 9)
            child.communicate()
            return Verdict(site, True, f"nothing within {limit:g} s", time.monotonic() - began)
    last = said.strip().splitlines()[-1:] or [f"status {child.returncode}"]
    if child.returncode not in (0, 1):
        raise SystemExit(f"{site}: the run itself ended with status {child.returncode}\n{said}")
    return Verdict(site, child.returncode == 1, last[0], time.monotonic() - began)


def judge_all(sites: Sequence[Site], jobs: int, factor: float, limit: float) -> Iterator[Verdict]:
    """:func:`judge` each, several at once."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as threads:
        yield from threads.map(lambda site: judge(site, Path(folder), factor, limit), sites)


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(prog="python conformance/mutation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sites", nargs="*", metavar="SITE", help="only these, as --list names them")
    parser.add_argument("--module", action="append", choices=sorted(MODULES), help="only its sites; may be repeated")
    parser.add_argument("--sample", type=int, metavar="N", help="so many, chosen by --seed")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default: %(default)s")
    parser.add_argument("--list", action="store_true", help="show the sites, and run nothing")
    parser.add_argument("--least", type=float, default=0.0, metavar="PERCENT", help="fail if fewer are killed")
    # what is broken is waited for, as a rule, until its time is over
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1), metavar="N", help="default: %(default)s")
    parser.add_argument("--time-scale", type=float, default=0.5, metavar="F", help="default: %(default)s")
    parser.add_argument("--limit", type=float, default=300.0, metavar="S", help="seconds for one; default: %(default)g")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write each verdict there, as JSON")
    options = parser.parse_args()
    found = all_sites(options.module or list(MODULES))
    reasons = equivalent()
    known = {site.id for site in all_sites(list(MODULES))}
    for name in [*options.sites, *reasons]:
        if name not in known:
            print(f"python conformance/mutation: there is no site {name} (see --list)", file=sys.stderr)
            return 2
    if options.sites:
        found = [site for site in all_sites(list(MODULES)) if site.id in options.sites]
    else:
        found = [site for site in found if site.id not in reasons]
    if options.sample is not None and options.sample < len(found):
        found = random.Random(options.seed).sample(found, options.sample)
    if options.list:
        for site in found:
            print(f"{site.id}  {site}")
        return 0
    began, verdicts = time.monotonic(), []
    for verdict in judge_all(found, max(1, options.jobs), options.time_scale, options.limit):
        verdicts.append(verdict)
        word = "killed" if verdict.killed else "SURVIVED"
        print(f"{word:<9}{verdict.seconds:5.0f} s  {verdict.site.id}  {verdict.site}  {verdict.by}", flush=True)
    if options.report:
        rows = [
            {"site": v.site.id, "what": str(v.site), "killed": v.killed, "by": v.by, "seconds": round(v.seconds, 1)}
            for v in verdicts
        ]
        options.report.write_text(json.dumps(rows, indent=1) + "\n")
    return summary(verdicts, len(reasons), time.monotonic() - began, options.least)


def summary(verdicts: Sequence[Verdict], excused: int, seconds: float, least: float) -> int:
    """Print the figures; return the exit status."""
    killed = sum(verdict.killed for verdict in verdicts)
    per_module = Counter(verdict.site.module for verdict in verdicts)
    for module, count in sorted(per_module.items()):
        here = sum(verdict.killed for verdict in verdicts if verdict.site.module == module)
        print(f"{module:<30} {here:>4} of {count:>4} killed")
    share = 100 * killed / len(verdicts) if verdicts else 100.0
    print(f"{killed} of {len(verdicts)} mutants killed ({share:.1f} %), {excused} equivalent, {seconds:.0f} s")
    return 0 if share >= least else 1


if __name__ == "__main__":
    raise SystemExit(main())
