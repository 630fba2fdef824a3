"""How much does the suite find of what nobody thought of? ``python conformance/mutation``: ``nox -s mutation``.

Each mutant is an implementation with one mechanical change: the sync reference, or the port in C. The suite's cases run
against it until one fails: then it is *killed*. One that passes all cases has *survived*: a check is missing, unless
``equivalent.toml`` says why nothing outside can tell it from the right one.

    python conformance/mutation --sample 40 --seed 1        # a part, the same for the same seed
    python conformance/mutation --module backchannel.sizing # one module, all of it
    python conformance/mutation --part C --sample 60 --report c.json --resume
    python conformance/mutation --list

Among the mutants is a *blank*, which is changed nowhere. It must survive: otherwise the cases fail on what is right,
and the verdicts mean nothing.

Exit status: 0 if as many as ``--least`` says were killed, 1 if fewer were or a blank was; 2 for a mistake in the
command; 130 after Ctrl-C, with what has been judged so far in the report.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from choice import chosen, order_for
from sites import Site
from targets import PARTS, PORT, TARGETS, DoesNotCompile, all_sites, prepare
from verdicts import KILLED, NO_MUTANT, RESULTS, SURVIVED, Report, Verdict, excuses

HERE = Path(__file__).parent
BLANKS = {False: "backchannel.frames", True: "c.frame.h"}
"""What stands for a blank, by whether it is one of the port in C: all its cases must pass."""
WHOLE = 1800.0
"""Seconds after which a run is given up, whatever its case says."""


class Judge:
    """Runs the suite against one mutant at a time, or several."""

    def __init__(self, folder: Path, factor: float, limit: float, known: dict[str, Verdict]) -> None:
        self._folder = folder
        self._factor = factor
        self._limit = limit
        self._known = known
        self._building = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()

    def __call__(self, site: Site) -> Verdict:
        """Until a case fails."""
        began = time.monotonic()
        target = TARGETS[site.module]
        verdict, by = self._of(site)
        return Verdict(site.id, target.part, site.module, str(site), verdict, by, round(time.monotonic() - began, 1))

    def _of(self, site: Site) -> tuple[str, str]:
        source = TARGETS[site.module].path.read_text()
        try:
            place = prepare(site.module, site.apply(source), self._folder / site.id.replace(":", "-"))
        except DoesNotCompile:
            return NO_MUTANT, ""
        order = json.dumps(order_for(site, dict(self._known)))
        where = [str(place), str(self._right(site.module))]
        command = [sys.executable, str(HERE / "one.py"), site.module, *where, str(self._factor), str(self._limit)]
        with subprocess.Popen([*command, order], stdout=subprocess.PIPE, text=True, env=_environment()) as child:
            self._running.add(child)
            try:
                said, _ = child.communicate(timeout=WHOLE)
            except subprocess.TimeoutExpired:
                end(child)
                return KILLED, f"nothing within {WHOLE:g} s"
            finally:
                self._running.discard(child)
        if child.returncode not in (0, 1):
            raise RuntimeError(f"{site}: the run itself ended with status {child.returncode}\n{said}")
        return (KILLED, said.strip().splitlines()[-1]) if child.returncode else (SURVIVED, "")

    def _right(self, module: str) -> Path:
        """What is changed nowhere. The port in C is built once for all."""
        target = TARGETS[module]
        if target.part != PORT:
            return target.path
        with self._building:
            place = self._folder / "right"
            return place if place.exists() else prepare(module, target.path.read_text(), place)

    def stop(self) -> None:
        """End what is being judged."""
        for child in list(self._running):
            end(child)


def _environment() -> dict[str, str]:
    """What makes a process start sooner: thousands are started."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def end(child: subprocess.Popen[str]) -> None:
    """Let it end what it has started, and go."""
    child.send_signal(signal.SIGINT)
    try:
        child.wait(30)
    except subprocess.TimeoutExpired:
        child.kill()


def judge_all(sites: Sequence[Site], judge: Judge, jobs: int, budget: float) -> Iterator[Verdict]:
    """:func:`judge` each, several at once; begin none when the budget is spent. What has begun is judged: to drop it
    would drop those that survive, since they take longest.
    """
    deadline = time.monotonic() + budget
    left, running = iter(sites), set[Future[Verdict]]()
    with ThreadPoolExecutor(jobs) as threads:
        try:
            while True:
                while len(running) < jobs and time.monotonic() < deadline and (site := next(left, None)):
                    running.add(threads.submit(judge, site))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            judge.stop()


def blanks(sites: Sequence[Site]) -> list[Site]:
    """One for each language."""
    languages = sorted({TARGETS[site.module].part == PORT for site in sites})
    return [Site(BLANKS[is_c], "", "", "blank", 0, 0, 0, "", "") for is_c in languages]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python conformance/mutation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sites", nargs="*", metavar="SITE", help="only these, as --list names them")
    parser.add_argument("--part", action="append", choices=PARTS, help="only its modules; may be repeated")
    parser.add_argument("--module", action="append", choices=sorted(TARGETS), help="only its sites; may be repeated")
    parser.add_argument("--sample", type=int, metavar="N", help="so many, chosen by --seed")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default: %(default)s")
    parser.add_argument("--budget", type=float, default=float("inf"), metavar="S", help="begin none after S seconds")
    parser.add_argument("--list", action="store_true", help="show the sites, and run nothing")
    parser.add_argument("--least", type=float, default=0.0, metavar="PERCENT", help="fail if fewer are killed")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write each verdict there, as JSON")
    parser.add_argument("--resume", action="store_true", help="do not judge again what the report has a verdict for")
    parser.add_argument("--again", action="store_true", help="of those, judge again what has survived")
    parser.add_argument("--spare", action="store_true", help="believe of survivors in results/ that they survive")
    parser.add_argument("--no-blank", action="store_true", help="leave the unchanged one out")
    # what is broken is waited for, as a rule, until its time is over
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1), metavar="N", help="default: %(default)s")
    parser.add_argument("--time-scale", type=float, default=0.5, metavar="F", help="default: %(default)s")
    parser.add_argument(
        "--limit", type=float, default=60.0, metavar="S", help="seconds for a case; default: %(default)g"
    )
    return parser


def main() -> int:
    """Run; return the exit status."""
    options = _parser().parse_args()
    every = {site.id: site for site in all_sites(list(TARGETS))}
    excused = excuses()
    for name in [*options.sites, *excused]:
        if name not in every:
            print(f"python conformance/mutation: there is no site {name} (see --list)", file=sys.stderr)
            return 2
    report = Report(options.report)
    if options.resume or options.again:
        report.load()
        report.keep(every)
    found = [every[name] for name in options.sites] or [
        site
        for site in every.values()
        if site.id not in excused
        and site.module in (options.module or TARGETS)
        and TARGETS[site.module].part in (options.part or PARTS)
    ]
    found = chosen(found, options.sample, options.seed)
    if options.list:
        for site in found:
            print(f"{site.id}  {site}")
        return 0
    settled = {v.site for v in report.verdicts.values() if not (options.again and v.verdict == SURVIVED)}
    return run(options, report, found, settled)


def run(options: argparse.Namespace, report: Report, found: Sequence[Site], settled: set[str]) -> int:
    """Judge those of ``found`` that are not ``settled``; return the exit status."""
    known = dict(report.verdicts)
    for path in sorted(RESULTS.glob("*.json")):
        earlier = Report(path)
        earlier.load()
        known = {**earlier.verdicts, **known}
    if options.spare:
        # a survivor costs a whole run of its cases, and another verdict would be news, but none that fails anything
        for site in found:
            if site.id in known and known[site.id].verdict == SURVIVED:
                report.add(known[site.id])
                settled.add(site.id)
    to_do = [site for site in found if site.id not in settled]
    began, wrong = time.monotonic(), False
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(Path(folder), options.time_scale, options.limit, known)
        unchanged = [] if options.no_blank else blanks(to_do)
        ids_of_blanks = {site.id for site in unchanged}
        for verdict in judge_all([*unchanged, *to_do], judge, max(1, options.jobs), options.budget):
            word = verdict.verdict
            if verdict.site in ids_of_blanks:
                word = "blank" if verdict.verdict == SURVIVED else "NOT BLANK"
                wrong |= verdict.verdict != SURVIVED
            else:
                report.add(verdict)
                known[verdict.site] = verdict
            print(f"{word:<9}{verdict.seconds:5.0f} s  {verdict.site}  {verdict.what}  {verdict.by}", flush=True)
    mine = [report.verdicts[site.id] for site in found if site.id in report.verdicts]
    share = summary(mine, len(found), time.monotonic() - began)
    if wrong:
        print("the cases fail on what is right: these verdicts mean nothing")
    return 0 if share >= options.least and not wrong else 1


def summary(verdicts: Sequence[Verdict], wanted: int, seconds: float) -> float:
    """Print the figures; return how many of a hundred were killed."""
    mutants = [verdict for verdict in verdicts if verdict.verdict != NO_MUTANT]
    for module in sorted({verdict.module for verdict in mutants}):
        here = [verdict.verdict == KILLED for verdict in mutants if verdict.module == module]
        print(f"{module:<34} {sum(here):>4} of {len(here):>4} killed")
    killed = sum(verdict.verdict == KILLED for verdict in mutants)
    share = 100 * killed / len(mutants) if mutants else 0.0
    print(
        f"{killed} of {len(mutants)} mutants killed ({share:.1f} %); judged {len(verdicts)} of {wanted} sites, "
        f"{len(excuses())} more are equivalent; {seconds:.0f} s"
    )
    return share


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
