"""The variant runner: ``python conformance/variants``, which is ``nox -s variants``.

Each variant is right by the specification, and runs the cases of its roles. One that fails, or is an error, is a false
alarm: the case forbids what a clause allows, and is to be mended. Advice that a variant does not follow may be warned
of, if the variant says so.

    python conformance/variants                                      # all of them, in roles parent and worker
    python conformance/variants --deal 7                             # each case under one of them, dealt by a seed
    python conformance/variants parent_reading:channels-in-reverse --role parent -- -k test_reload
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from allowed import Variant, every
from backchannel_conformance import manifest
from backchannel_conformance.cli import CASES, SETTLED, in_own_folder
from backchannel_conformance.fixtures import Fixtures
from backchannel_conformance.plugin import Suite, manifest_of, role_of
from backchannel_conformance.waiting import scale

HERE = Path(__file__).parent
PROGRAM = str(HERE / "vary.py")


def implementation(variant: Variant, roles: list[str]) -> manifest.Manifest:
    """The sync reference in ``roles``, with its commands going through :mod:`vary`."""
    sync = manifest.find("sync")
    words = dict(variant.words)
    offered = {}
    for name in roles:
        role = sync.roles[name]
        commands = {
            key: (command[0], PROGRAM, variant.name, *(words.get(word, word) for word in command[1:]))
            for key, command in role.commands.items()
        }
        offered[name] = replace(role, commands=commands)
    return replace(sync, name=variant.name, roles=offered, classes=sync.classes - variant.without)


class Alarms:
    """The plugin object that collects false alarms, and says each when it is there."""

    def __init__(self, variants: list[Variant], seed: int | None) -> None:
        self.found: list[str] = []
        self._named = {variant.name: variant for variant in variants}
        self._seed = seed

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Deal the cases to the variants, if a seed says how."""
        if self._seed is None:
            return
        hands: dict[str, list[pytest.Item]] = {}
        for item in items:
            if role_of(item) in manifest_of(item).roles:
                hands.setdefault(item.nodeid.replace(manifest_of(item).name, ""), []).append(item)
        dice = random.Random(self._seed)
        dealt = {dice.choice(hand) for hand in hands.values()}
        config.hook.pytest_deselected(items=[item for item in items if item not in dealt])
        items[:] = [item for item in items if item in dealt]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        report: pytest.TestReport = yield  # type: ignore[assignment]
        report.variant = manifest_of(item).name  # type: ignore[attr-defined]
        return report  # type: ignore[return-value]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        case = getattr(report, "case", None)
        if case is None:
            return
        variant = self._named[report.variant]
        warned = case["status"] == "warn" and case["broke"] not in variant.advice
        if case["status"] in ("fail", "error") or warned:
            said = f"{case['role']}/{case['id']}: {case['status']}: {case['message']}"
            self.found.append(f"{variant.name} ({variant.by} allows it): {said}")
            print(f"\nFALSE ALARM: {self.found[-1]}", flush=True)


def run(variants: list[Variant], roles: list[str], seed: int | None, options: list[str]) -> list[str]:
    """Run; return the false alarms. ``seed``: run each case under one variant alone, which this chooses."""
    manifests = [implementation(variant, [role for role in roles if role in variant.roles]) for variant in variants]
    suite, alarms = Suite([made for made in manifests if made.roles], strict=False), Alarms(variants, seed)
    folders = [str(CASES / role) for role in roles]
    arguments = [*SETTLED, "-q", "-s", "-o", "addopts=--import-mode=importlib", *folders, *options]
    status = in_own_folder(arguments, [suite, Fixtures(), alarms])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(f"the run went wrong: pytest ended with {status!r}")
    return alarms.found


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python conformance/variants", description="Prove that no case fails what the specification allows."
    )
    parser.add_argument("names", nargs="*", metavar="VARIANT", help="only these")
    parser.add_argument("--role", action="append", choices=manifest.ROLES, help="default: parent and worker")
    parser.add_argument(
        "--deal", type=int, nargs="?", const=0, metavar="SEED", help="run each case under one of them, not under all"
    )
    parser.add_argument("--list", action="store_true", help="say what there is, and what allows it")
    parser.add_argument("--time-scale", type=float, default=1.0, metavar="F")
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, passed = parser.parse_args(sys.argv[1:cut]), sys.argv[cut + 1 :]
    variants = every()
    unknown = set(options.names) - {variant.name for variant in variants}
    if unknown:
        parser.error(f"there is no variant {', '.join(sorted(unknown))}; they are functions in {HERE.name}/allowed")
    chosen = [variant for variant in variants if not options.names or variant.name in options.names]
    if options.list:
        for variant in chosen:
            print(f"{variant.by:<14} {variant.name:<48} {', '.join(variant.roles)}")
        return 0
    scale(options.time_scale)
    began = time.monotonic()
    wrong = run(chosen, options.role or ["parent", "worker"], options.deal, passed)
    print(f"{len(chosen)} variants, {len(wrong)} false alarms, {time.monotonic() - began:.0f} s")
    for line in wrong:
        print(f"FALSE ALARM: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
