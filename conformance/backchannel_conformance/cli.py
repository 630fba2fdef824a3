"""The command line: a thin front end to pytest.

    python -m backchannel_conformance run --impl sync --report build/conformance
    python -m backchannel_conformance run --manifest path/to/port.toml -- -k herd -x
    python -m backchannel_conformance run --manifest path/to/port.toml --baseline known.toml -- -k BC-BUSY -m worker
    python -m backchannel_conformance smoke --manifest path/to/port.toml
    python -m backchannel_conformance list -- -k BC-HERD-01

What follows ``--`` goes to pytest: ``-k`` selects by case or requirement, ``-m`` by role. Plugins that are installed
are left out; ``-p NAME`` takes one in.

Exit status of ``run``: 0 if every requirement that was tested holds and every control behaved; 1 if not; 2 for a
mistake in the command or a manifest, and for a command that does not start or does not answer; 130 after Ctrl-C.
``smoke``: 0 if all is well, 1 if a command is not; 2 for a mistake.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from . import coverage, manifest
from .baseline import Baseline
from .errors import UsageError
from .fixtures import Fixtures
from .histories.plan import Plan, plan
from .model import Deviation, check_trace
from .parallel import OPTION, Controller, Helper
from .plugin import Suite, case_of, requirements_of, role_of
from .port_output import printable
from .requirements import Requirements
from .smoke import smoke, try_each
from .waiting import scale

__all__ = ["main"]

LONGEST = 1 << 20
"""Characters of a trace's line."""
CASES = Path(__file__).parent / "cases"
SETTLED = ("-c", str(CASES.parent / "pytest.ini"), "--disable-plugin-autoload", "-p", "no:cacheprovider")
"""What pytest is told in every run of cases. What comes of one must not depend on which plugins somebody has installed,
and those of pytest that are, with what they import, can double the time that a process takes to start.
"""
QUIET = (*SETTLED, "-p", "no:terminal", "-o", "addopts=--import-mode=importlib")
"""The same, where nobody reads what pytest prints."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    extra: list[str] = []
    if "--" in given:
        at = given.index("--")
        given, extra = given[:at], given[at + 1 :]
    options = _parser().parse_args(given)
    try:
        if options.command == "list":
            return _list(options.role, extra)
        if options.command == "smoke":
            say_whose_rights()
            found = manifest.load(options.manifest) if options.manifest else manifest.find(options.impl)
            scale(options.time_scale)
            return 0 if smoke(found) else 1
        return _run(options, given, extra)
    except UsageError as mistake:
        print(f"backchannel_conformance: {mistake}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m backchannel_conformance", description="The backchannel conformance suite."
    )
    to_pytest = (
        "What follows -- goes to pytest: -k BC-BUSY selects by requirement or case, -x ends at the first failure."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="test implementations", epilog=to_pytest)
    run.add_argument(
        "--impl", action="append", default=[], metavar="NAME", help="one that comes with the suite; may be repeated"
    )
    run.add_argument(
        "--manifest", action="append", default=[], type=Path, metavar="FILE", help="one of yours; may be repeated"
    )
    run.add_argument("--role", action="append", choices=manifest.ROLES, help="only cases of this role; may be repeated")
    run.add_argument(
        "--report",
        type=Path,
        default=Path("build/conformance"),
        metavar="DIR",
        help="where report.html, report.json and junit.xml go; default: %(default)s",
    )
    known = run.add_mutually_exclusive_group()
    known.add_argument("--baseline", type=Path, metavar="FILE", help="failures that are known, and fail nothing")
    known.add_argument("--write-baseline", type=Path, metavar="FILE", help="write those of this run, and fail for none")
    run.add_argument(
        "--no-controls", action="store_true", help="leave out the controls, pools that show that the suite can fail"
    )
    run.add_argument(
        "--traces",
        type=Path,
        metavar="DIR",
        help="let parents that can write a trace write it into DIR, and check each trace against the specification",
    )
    run.add_argument("--strict", action="store_true", help="fail when something cannot be tested here")
    run.add_argument(
        "--time-scale", type=float, default=1.0, metavar="F", help="stretch all time limits, for slow machines"
    )
    run.add_argument(
        "--jobs",
        type=int,
        default=2 * (os.cpu_count() or 1),
        metavar="N",
        help="run so many cases at once, where they permit; default: two for each processor, as cases mostly wait",
    )
    run.add_argument(
        "--seed", type=int, default=Plan.seed, metavar="N", help="of the first histories; default: %(default)s"
    )
    run.add_argument(
        "--histories", type=int, default=Plan.histories, metavar="N", help="how many are played; default: %(default)s"
    )
    run.add_argument("--save", type=Path, metavar="FILE", help="write a history that fails there")
    run.add_argument("--no-smoke", action="store_true", help="do not try the commands of a --manifest before the cases")
    run.add_argument(OPTION, type=int, metavar="FD", help=argparse.SUPPRESS)
    plumbing = commands.add_parser("smoke", help="start each role once, and say in words what is wrong")
    which = plumbing.add_mutually_exclusive_group(required=True)
    which.add_argument("--impl", metavar="NAME", help="one that comes with the suite")
    which.add_argument("--manifest", type=Path, metavar="FILE", help="one of yours")
    plumbing.add_argument("--time-scale", type=float, default=1.0, metavar="F", help="stretch all time limits")
    lister = commands.add_parser(
        "list", help="show the cases, and the requirements with the cases that check them", epilog=to_pytest
    )
    lister.add_argument(
        "--role", action="append", choices=manifest.ROLES, help="only cases of this role; may be repeated"
    )
    return parser


def _run(options: argparse.Namespace, given: list[str], extra: list[str]) -> int:
    if not options.impl and not options.manifest:
        known = ", ".join(manifest.names("manifests"))
        raise UsageError(f"nothing to test: give --manifest FILE, or --impl NAME (there are: {known})")
    if options.time_scale <= 0:
        raise UsageError(f"--time-scale {options.time_scale}: give a number above 0")
    if options.jobs < 1:
        raise UsageError(f"--jobs {options.jobs}: give a number above 0; 1 runs one case after another")
    plan(Plan(options.seed, options.histories, options.save))
    if options.helper is not None:
        return _help(options, extra)
    say_whose_rights()
    targets = _targets(options)
    scale(options.time_scale)
    if not options.no_smoke:
        for target in targets[len(options.impl) :][: len(options.manifest)]:
            if not target.is_control:
                try_each(target, options.role or manifest.ROLES)
    _folder("--report", options.report)
    if options.traces:
        _folder("--traces", options.traces)
    if options.write_baseline:
        _folder("--write-baseline", options.write_baseline.parent)
    baseline = Baseline.load(options.baseline) if options.baseline else None
    if options.write_baseline:
        baseline = Baseline.recorder(options.write_baseline)
    suite = Suite(targets, strict=options.strict, baseline=baseline)
    if options.traces:
        _make_room(options.traces)
    command = [sys.executable, "-m", "backchannel_conformance", *given]
    controller = Controller(suite, options.jobs, command, ["--", *extra])
    status = _pytest(options, extra, [f"--junit-xml={options.report / 'junit.xml'}"], [suite, controller])
    suite.report.write(options.report)
    print(f"report: {options.report / 'report.html'}, report.json, junit.xml")
    if options.write_baseline and baseline:
        print(f"baseline: {baseline.write(options.write_baseline)} known failures in {options.write_baseline}")
    if status == pytest.ExitCode.INTERRUPTED:
        return 130
    if status in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        return 2
    if options.traces and not _check_traces(options.traces):
        return 1
    return 0 if status == pytest.ExitCode.OK else 1


def say_whose_rights() -> None:
    """Say in one line, before anything is started, with whose rights a manifest's commands run."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = f"number {os.geteuid()}"
    what = f"The commands of a manifest, its build included, run with the rights of user {user}."
    advice = "WARNING: they may do anything here; test strangers' ports as an ordinary user."
    print(f"{what} {advice}" if os.geteuid() == 0 else what, file=sys.stderr)


def _targets(options: argparse.Namespace) -> list[manifest.Manifest]:
    """What is to be tested."""
    built = options.helper is not None
    targets = [manifest.find(name) for name in options.impl]
    targets += [manifest.load(path, built=built) for path in options.manifest]
    if not options.no_controls:
        targets += [manifest.find(name) for name in manifest.names("controls")]
    names = [target.name for target in targets]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two manifests are called {name!r}: rename one, or run them apart")
    return targets


def _pytest(options: argparse.Namespace, extra: list[str], more: list[str], plugins: list[object]) -> int:
    cases = _chosen(options.role)
    return in_own_folder([*SETTLED, *cases, *more, *extra], [*plugins, Fixtures()])


def in_own_folder(arguments: list[str], plugins: list[object]) -> int:
    """Run pytest with a folder for temporary files that is this run's own: in the common one, runs at the same time
    tidy up after one another, and then say that a folder is not empty.
    """
    folder = tempfile.mkdtemp(prefix="bc-run-")
    try:
        return pytest.main(["--basetemp", f"{folder}/t", *arguments], plugins=plugins)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _chosen(roles: Sequence[str] | None) -> list[str]:
    """The folders of these roles' cases, or of all."""
    return [str(CASES / role) for role in roles] if roles else [str(CASES)]


def _help(options: argparse.Namespace, extra: list[str]) -> int:
    """Be a helper of another run."""
    scale(options.time_scale)
    suite = Suite(_targets(options), strict=False, helps=True)
    return _pytest(options, extra, [], [suite, Helper(suite, socket.socket(fileno=options.helper))])


def _folder(option: str, folder: Path) -> None:
    """Make a directory if it is not there. Raises :class:`UsageError` when nothing can be written to it: that would be
    found out when all cases have run.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        what = f"{option}: nothing can be written to the directory {folder} ({error.strerror})"
        raise UsageError(f"{what}; give one where this user may write") from None


def _make_room(folder: Path) -> None:
    for old in folder.glob("*.jsonl"):
        old.unlink()
    os.environ["BACKCHANNEL_TRACE"] = str(folder.resolve())


def _check_traces(folder: Path) -> bool:
    """Replay all traces; say what came of it."""
    wrong, lines = 0, 0
    traces = sorted(path for path in folder.glob("*.jsonl") if path.is_file())
    for path in traces:
        try:
            # a parent has written it: anything, of any length, under any name
            with path.open(encoding="utf-8", errors="backslashreplace") as file:
                lines += check_trace(iter(lambda: file.readline(LONGEST), ""))
        except Deviation as deviation:
            wrong += 1
            print(printable(f"trace {path}: {deviation}"))
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            wrong += 1
            print(printable(f"trace {path}: it is none: {type(error).__name__}: {error}"))
    print(f"traces: {len(traces)} of {lines} lines were replayed, {wrong} deviate from the specification")
    return not wrong


def _list(roles: Sequence[str] | None, extra: list[str]) -> int:
    anything = manifest.Manifest(Path(), "anything", "any", frozenset(manifest.CLASSES), {})
    suite = Suite([anything], strict=False)
    found = _Lister(everything=not extra and not roles)
    status = pytest.main([*QUIET, *_chosen(roles), "--collect-only", *extra], plugins=[suite, Fixtures(), found])
    try:
        print("\n".join(found.lines), flush=True)
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if status == pytest.ExitCode.OK else 2


class _Lister:
    """Lists the cases that were selected, then the requirements that they check."""

    def __init__(self, *, everything: bool) -> None:
        self.lines: list[str] = []
        self._everything = everything

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        checked: dict[str, list[str]] = {}
        # a case with several parameters is one case
        for item in {case_of(item): item for item in session.items}.values():
            assert isinstance(item, pytest.Function)
            self.lines.append(f"{case_of(item)} ({role_of(item)}): {' '.join(requirements_of(item))}")
            self.lines.append(f"    {(item.function.__doc__ or '').strip().splitlines()[0]}")
            for name in requirements_of(item):
                checked.setdefault(name, []).append(case_of(item))
        without = coverage.exclusions()
        others = coverage.by_requirement([*coverage.vectors(), *coverage.generated_checks()])
        for name, requirement in Requirements.load().items():
            if name in checked or (self._everything and not requirement.withdrawn):
                self.lines.append(
                    f"{name} {requirement.level} ({', '.join(requirement.roles)}; class {requirement.class_})"
                )
                self.lines.append(f"    {requirement.text}")
                lines = [", ".join(checked[name])] if name in checked else []
                lines += [f"{check.kind} {check.id}" for check in others.get(name, ())]
                self.lines += [f"    {line}" for line in lines or [f"no case: {without.get(name, 'it is advice')}"]]
