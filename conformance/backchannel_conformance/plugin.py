"""The pytest plugin: it runs each case against each target and records what came of it.

A case is an ordinary test. Marks say which requirements it checks (``@pytest.mark.req("BC-...")``), which class of
implementations it is for (``@pytest.mark.classes("event")``), and what it asks the system
(``@pytest.mark.kernel("switches")``). What it tests is a fixture: see :mod:`~backchannel_conformance.fixtures`. What it
measures goes into the fixture ``figures``.

Verdicts come from pytest's own outcomes: :class:`RequirementViolated` is *fail*, any other exception is *error*. The
``must_fail`` cases of a control are strict expected failures (``xfail(strict=True, raises=RequirementViolated)``), so a
control that passes them, or merely crashes, fails the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, is_dataclass
from typing import Any

import pytest
from _pytest._code.code import TerminalRepr

from . import kernel, transcript
from .baseline import Baseline
from .errors import NOT_APPLICABLE, UNTESTABLE, RequirementViolated
from .guardian import guarded
from .histories.plan import plan
from .manifest import ROLES, Manifest
from .port_output import MOST_WRITTEN, printable
from .report import Case, Report, Target
from .requirements import Requirements
from .waiting import no_longer_than, scale

__all__ = ["Suite"]

LONGEST = 600.0
"""Seconds that a case may take, or its set-up, or its tear-down: several times what the longest one needs."""


class Suite:
    """The plugin object: registered by the command line, with the targets of the run."""

    def __init__(
        self, manifests: list[Manifest], *, strict: bool, baseline: Baseline | None = None, helps: bool = False
    ) -> None:
        self.manifests = manifests
        self.helps = helps
        """Whether another process takes what came of each case."""
        self.baseline = baseline or Baseline({})
        self.report = Report(manifests)
        self.strict = strict
        self.problems: list[str] = []

    def pytest_configure(self, config: pytest.Config) -> None:
        self._files = ExitStack()
        self._files.enter_context(kernel.limits.files(MOST_WRITTEN))
        self._files.enter_context(guarded())
        config.addinivalue_line("markers", "req(*ids): the requirements that the case checks")
        for role in ROLES:
            config.addinivalue_line("markers", f"{role}: a case of this role; set by its folder")
        config.addinivalue_line("markers", "classes(*names): only for implementations of these classes")
        config.addinivalue_line("markers", "needs(*placeholders): only for manifests that offer these")
        config.addinivalue_line("markers", "kernel(*questions): asks the system this; see kernel.QUESTIONS")
        config.addinivalue_line("markers", "histories: plays generated histories, as many as the run was told")
        config.addinivalue_line("markers", "counts: its figures are counts, which other cases beside it do not change")

    def pytest_unconfigure(self) -> None:
        self._files.close()

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        # so that pytest's own options select: -k BC-HERD-01 by requirement, -m worker by role
        item.extra_keyword_matches.update(requirements_of(item))
        item.add_marker(role_of(item))

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.parametrize("manifest", self.manifests, ids=[manifest.name for manifest in self.manifests])

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        known = Requirements.load()
        kept, dropped = [], []
        for item in items:
            for name in requirements_of(item):
                if name not in known:
                    raise pytest.UsageError(f"{item.nodeid} checks {name}, which the specification does not have")
            manifest, case = manifest_of(item), case_of(item)
            if item.get_closest_marker("histories") and not plan().histories:
                dropped.append(item)
                continue
            if manifest.is_control and case not in manifest.must_fail | manifest.show:
                dropped.append(item)
                continue
            if case in manifest.must_fail:
                item.add_marker(
                    pytest.mark.xfail(strict=True, raises=RequirementViolated, reason="a control that must fail")
                )
            kept.append(item)
        for target in self.report.targets.values():
            target.partial = bool(config.option.keyword or config.option.markexpr)
        order = {manifest.name: at for at, manifest in enumerate(self.manifests)}
        kept.sort(key=lambda item: order[manifest_of(item).name])
        items[:] = kept
        config.hook.pytest_deselected(items=dropped)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        transcript.begin()
        item.user_properties.extend(("requirement", name) for name in requirements_of(item))
        if reason := left_out(item):
            pytest.skip(reason)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        # whatever a port does, there is a verdict: every wait of the suite has a limit of its own, and this is for the
        # one that was forgotten
        with no_longer_than(LONGEST * scale(), f"{item.name} had not ended"):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        with no_longer_than(LONGEST * scale(), f"what {item.name} had started could not be ended"):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        report: pytest.TestReport = yield  # type: ignore[assignment]
        report.longrepr, report.sections = shown(report.longrepr), shown(report.sections)
        case = self._case(item, call, report)
        report.case = asdict(case)  # type: ignore[attr-defined]
        if not self.helps:
            self.take(item, report)
        return report  # type: ignore[return-value]

    def _case(self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> Case:
        """What came of it, whatever is known of the target."""
        status, message = verdict(call)
        case = Case(case_of(item), requirements_of(item), status, round(report.duration, 3), message, role_of(item))
        if call.excinfo and isinstance(call.excinfo.value, RequirementViolated):
            case.broke, case.seen = call.excinfo.value.requirement, call.excinfo.value.seen
        if status in ("fail", "error", "warn"):
            case.frames = transcript.lines()
        return case

    def take(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Take what came of a case into the report of the run, as far as the baseline does not excuse it."""
        manifest = manifest_of(item)
        case = Case(**report.case)
        status = case.status
        if status in ("fail", "error") and not manifest.is_control:
            reason = self.baseline.reason(manifest.name, case)
            if reason is not None:
                case.status, case.message = "known", f"{reason}\n{case.message}"
        if case.status in ("warn", "known"):
            # advice that is not followed, and what is known not to hold, is listed and fails nothing
            report.outcome, report.longrepr = "skipped", (str(item.path), 0, f"{case.status}: {case.message}")
        if report.when == "call" or case.status != "pass":
            self.report.targets[manifest.name].record(case)
        if status == "untestable" and self.strict:
            self.problems.append(f"{item.nodeid}: {case.message}")

    def figures_of(self, item: pytest.Item) -> dict[str, Any]:
        """What a case measured, by name. Its variants share them."""
        figures: dict[str, Any] = self.report.targets[manifest_of(item).name].figures.setdefault(case_of(item), {})
        return figures

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for target in self.report.targets.values():
            if not target.behaved:
                self.problems.append(f"{target.manifest.name} did not do as it should")
            for name in self.baseline.stale(target):
                self.problems.append(f"{target.manifest.name} holds {name} by now: take it out of the baseline")
        if self.problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("conformance")
        for line in self.report.table():
            terminalreporter.write_line(line)
        for line in self.problems:
            terminalreporter.write_line(f"NOT RIGHT: {line}")

    # ------------------------------------------------------------------------------------ fixtures

    @pytest.fixture
    def target(self, manifest: Manifest) -> Target:
        """What this case runs against."""
        return self.report.targets[manifest.name]

    @pytest.fixture
    def figures(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        """What a case measured, by name: it is printed and reported."""
        return self.figures_of(request.node)


def case_of(item: pytest.Item) -> str:
    """The case's id: the test's name without its target."""
    return getattr(item, "originalname", item.name)


def role_of(item: pytest.Item) -> str:
    """The role that the case tests: the name of its folder."""
    return item.path.parent.name


def manifest_of(item: pytest.Item) -> Manifest:
    """What it runs against."""
    manifest: Manifest = item.callspec.params["manifest"]  # type: ignore[attr-defined]
    return manifest


def left_out(item: pytest.Item) -> str:
    """Why the case cannot be run against its target, or on this system; empty if it can."""
    manifest, role = manifest_of(item), role_of(item)
    if role not in manifest.roles:
        return f"{NOT_APPLICABLE}{manifest.name} does not offer role {role!r}"
    for mark in item.iter_markers("classes"):
        for name in mark.args:
            if name not in manifest.classes:
                return f"{NOT_APPLICABLE}{manifest.name} does not declare class {name!r}"
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if name not in manifest.roles[role].placeholders:
                return f"{NOT_APPLICABLE}the manifest of {manifest.name} does not offer {{{name}}}"
    for mark in item.iter_markers("kernel"):
        for question in mark.args:
            if not kernel.can(question):
                return f"{UNTESTABLE}{kernel.missing(question)}"
    return ""


def requirements_of(item: pytest.Item) -> list[str]:
    """The ids that a case checks."""
    return [name for mark in item.iter_markers("req") for name in mark.args]


def shown(thing: Any) -> Any:
    """What pytest is going to print, with all that a port has said in it made fit for that. Changed in place."""
    if isinstance(thing, str):
        return printable(thing)
    if isinstance(thing, list | tuple):
        return type(thing)(map(shown, thing))
    if is_dataclass(thing) or isinstance(thing, TerminalRepr):
        for name, value in vars(thing).items():
            object.__setattr__(thing, name, shown(value))
    return thing


def verdict(call: pytest.CallInfo[None]) -> tuple[str, str]:
    """pytest's outcome as ours."""
    if call.excinfo is None:
        return "pass", ""
    error = call.excinfo.value
    if isinstance(error, pytest.skip.Exception):
        message = printable(error)
        return ("untestable" if message.startswith(UNTESTABLE) else "not-applicable"), message
    if isinstance(error, RequirementViolated):
        return ("warn" if Requirements.load().is_advice(error.requirement) else "fail"), str(error)
    return "error", printable(f"{type(error).__name__}: {error}")
