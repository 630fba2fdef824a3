"""Mechanical mutation: where the changes are made, that one is seen by the suite and none is not, and what is kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "conformance" / "mutation"

PYTHON = '''
"""A module."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import other
__all__ = ["a", "b"]
Frame = A | B
STATES: Final = {1: A, 2: B}


class C:
    """Words."""

    limit: int = 3

    def __repr__(self) -> str:
        return f"{self.limit + 1}" if self.limit else ""


def outer(a, b, *, c=True) -> int:
    """Words."""
    assert a
    if a < b and not b:
        log.warning("%s", a)
        notes.append(Note("x", 1))
        self.x = call(a, b)
    elif isinstance(a, int | str):
        raise ValueError(f"{a - b}")
    key = min(x, key=lambda w: (w.load, -w.slot))
    return a + 1
'''
IN_PYTHON = {
    ("entry", "{1: A, 2: B}", "{2: B}"),
    ("entry", "{1: A, 2: B}", "{1: A}"),
    ("constant", "1", "2"),
    ("constant", "2", "3"),
    ("constant", "3", "4"),
    ("constant", "True", "False"),
    ("connective", "a < b and not b", "(a < b or not b)"),
    ("condition", "a < b and not b", "(not b)"),
    ("condition", "a < b and not b", "(a < b)"),
    ("comparison", "a < b", "(a <= b)"),
    ("negation", "not b", "(b)"),
    ("statement", "self.x = call(a, b)", "pass"),
    ("arguments", "call(a, b)", "(call(b, a))"),
    ("negation", "isinstance(a, int | str)", "(not isinstance(a, int | str))"),
    ("statement", 'raise ValueError(f"{a - b}")', "pass"),
    ("function", "min(x, key=lambda w: (w.load, -w.slot))", "(max(x, key=lambda w: (w.load, -w.slot)))"),
    ("arguments", "(w.load, -w.slot)", "((-w.slot, w.load))"),
    ("arithmetic", "-w.slot", "(w.slot)"),
    ("arithmetic", "a + 1", "(a - 1)"),
    ("return", "a + 1", "(a + 1 + 1)"),
}

C = """
/* a < b */
#include <stdio.h>
enum { SIZE = 20 };
static double wait = 0.5;

static void say(const char *format, ...)
{
    if (format)
        return;
}

static int f(struct worker *w, int most)
{
    struct frame all = {1, {0, 0}};
    char line[1024];

    if (w->open < most && !all.type)
        say("%d < %d", 1, 2);
    while (g(most))
        continue;
    send(w, most);
    w->open += 1;
    return most;
}
"""
IN_C = {
    ("constant", "20", "21"),
    ("constant", "0.5", "2.0"),
    ("constant", "1", "2"),
    ("constant", "0", "1"),
    ("comparison", "<", "<="),
    ("connective", "&&", "||"),
    ("negation", "!", ""),
    ("negation", "g(most)", "!(g(most))"),
    ("statement", "continue;", ";"),
    ("statement", "send(w, most);", ";"),
    ("arguments", "w, most", "most, w"),
    ("statement", "w->open += 1;", ";"),
    ("arithmetic", "+=", "-="),
    ("return", "most", "!(most)"),
}


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Its modules, by name."""
    monkeypatch.syspath_prepend(FOLDER)
    import c_sites
    import choice
    import python_sites
    import sites
    import targets
    import verdicts

    return {module.__name__: module for module in (c_sites, choice, python_sites, sites, targets, verdicts)}


@pytest.mark.parametrize(
    ("finder", "source", "due"), [("python_sites", PYTHON, IN_PYTHON), ("c_sites", C, IN_C)], ids=["Python", "C"]
)
def test_changes_are_made_where_rules_are(tool, finder: str, source: str, due: set[tuple[str, str, str]]) -> None:
    found = tool[finder].sites_of("m", source)
    assert {(site.kind, site.old, site.new) for site in found} == due


@pytest.mark.parametrize(("finder", "source"), [("python_sites", PYTHON), ("c_sites", C)], ids=["Python", "C"])
def test_a_name_stays_when_others_change(tool, finder: str, source: str) -> None:
    sites_of = tool[finder].sites_of
    moved = source.replace("    return a + 1", "    # why\n    return (\n        a + 1\n    )").replace("0.5", "0.25")
    moved = "\n\n" + moved.replace("    return most;", "\n    /* why */\n    return  most;")
    before, after = ({site.id for site in sites_of("m", text) if site.function} for text in (source, moved))
    assert before == after


def test_each_site_has_a_name_of_its_own_and_compiles(tool) -> None:
    names: list[str] = []
    for name, target in tool["targets"].TARGETS.items():
        source = target.path.read_text()
        sites = tool["targets"].all_sites([name])
        assert sites, name
        for site in sites[::20]:
            changed = site.apply(source)
            assert changed != source
            if target.path.suffix == ".py":
                compile(changed, str(target.path), "exec")
        names += [site.id for site in sites]
    assert len(names) == len(set(names)) > 3000


def test_cases_of_each_target_exist(tool) -> None:
    cases = ROOT / "conformance" / "backchannel_conformance" / "cases"
    for target in tool["targets"].TARGETS.values():
        assert all((cases / case).exists() for case in target.cases)


@pytest.mark.parametrize("kind", ["excuses", "survivors"])
def test_each_reason_is_for_a_site_and_quotes_it(tool, kind: str) -> None:
    every = {site.id: site for site in tool["targets"].all_sites(list(tool["targets"].TARGETS))}
    for name, reason in getattr(tool["verdicts"], kind)().items():
        assert name in every, f"{name}: there is no such site any more; {reason.line}"
        lines = tool["targets"].TARGETS[every[name].module].path.read_text().splitlines()
        assert reason.line == lines[every[name].line - 1].strip(), name
        assert len(reason.why.split()) > 4, f"{name} needs a reason"


def test_nothing_is_both_equivalent_and_missed(tool) -> None:
    assert not set(tool["verdicts"].excuses()) & set(tool["verdicts"].survivors())


def test_a_sample_stays_when_sites_are_added(tool) -> None:
    sites = tool["targets"].all_sites(["backchannel.frames", "backchannel.sizing"])
    chosen = tool["choice"].chosen
    all_of_them = chosen(sites, None, 1)
    assert chosen(sites, 20, 1) == all_of_them[:20] != chosen(sites, 20, 2)
    fewer = [site for site in sites if site.module == "backchannel.sizing"]
    assert chosen(fewer, None, 1) == [site for site in all_of_them if site.module == "backchannel.sizing"]


def test_the_case_that_noticed_comes_first(tool) -> None:
    verdicts = tool["verdicts"]
    one, two, *_ = tool["targets"].all_sites(["backchannel.frames"])

    def verdict(name: str, by: str) -> Any:
        return verdicts.Verdict(name, "core", name.partition(":")[0], "", verdicts.KILLED, by)

    known = {one.id: verdict(one.id, "test_a BC-X-01"), two.id: verdict(two.id, "test_b BC-X-02")}
    known |= {f"other:{at}": verdict(f"other:{at}", "test_c BC-X-03") for at in range(3)}
    assert tool["choice"].order_for(two, known)["first"][0] == "test_b"
    assert tool["choice"].order_for(two, known)["last"] == "test_b"
    del known[two.id]
    assert tool["choice"].order_for(two, known) == {"first": ["", "test_a", "test_c"], "last": ""}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, FOLDER, "--time-scale", "2", "--no-blank", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def site_in(tool, module: str, **what: str) -> Any:
    """The site of the module with this change."""
    for site in tool["targets"].all_sites([module]):
        if all(getattr(site, key) == value for key, value in what.items()):
            return site
    raise LookupError(what)


def test_one_change_is_seen_by_the_suite_and_kept_in_the_report(tool, tmp_path: Path) -> None:
    site = site_in(tool, "backchannel.frames", function="decode", old="reserved", kind="negation")
    done = run(site.id, "--report", tmp_path / "report.json", "--least", "100")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 mutants killed (100.0 %)" in done.stdout
    (row,) = json.loads((tmp_path / "report.json").read_text())["verdicts"]
    assert (row["site"], row["verdict"]) == (site.id, "killed")
    assert " BC-" in row["by"], "the case that noticed, and the requirement"

    row["verdict"] = "survived"
    (tmp_path / "report.json").write_text(json.dumps({"verdicts": [row, {**row, "site": "an:old:one"}]}))
    kept = run(site.id, "--report", tmp_path / "report.json", "--resume", "--least", "1")
    assert kept.returncode == 1
    assert "0 of 1 mutants killed" in kept.stdout, "what is there is not judged again"
    again = run(site.id, "--report", tmp_path / "report.json", "--again")
    assert "1 of 1 mutants killed" in again.stdout
    assert len(json.loads((tmp_path / "report.json").read_text())["verdicts"]) == 1, "what is of no site is forgotten"


def test_a_change_in_c_is_seen_by_the_suite(tool) -> None:
    if not all(map(shutil.which, ("cc", "make"))):
        pytest.skip("no compiler")
    site = site_in(tool, "c.frame.h", function="frame_put", old="octets[2] = f.reason;")
    done = run(site.id)
    assert "killed" in done.stdout, done.stdout + done.stderr


def test_what_does_not_compile_is_no_mutant(tool, tmp_path: Path) -> None:
    if not all(map(shutil.which, ("cc", "make"))):
        pytest.skip("no compiler")
    with pytest.raises(tool["targets"].DoesNotCompile):
        tool["targets"].prepare("c.worker.c", "int main(void) {", tmp_path / "it")


def test_nothing_begins_when_the_budget_is_spent(tool) -> None:
    done = run("--module", "backchannel.frames", "--budget", "0", "--least", "1")
    assert done.returncode == 1
    assert "judged 0 of" in done.stdout


def test_an_unknown_site_is_a_mistake(tool) -> None:
    done = run("backchannel.frames:decode:00000000")
    assert done.returncode == 2
    assert "there is no site backchannel.frames:decode:00000000" in done.stderr


@pytest.mark.parametrize(
    ("last", "mutant", "right", "verdict"),
    [
        ("", [True, True, True], [False], "it BC-X-01"),
        ("", [True, True, False], [], ""),
        ("", [True, True, True], [True], ""),
        ("it", [True], [], "it BC-X-01"),
        ("it", [False], [], ""),
    ],
    ids=["fails three times", "fails twice", "fails whatever it runs against", "failed before", "failed before alone"],
)
def test_what_is_evidence(
    tool, monkeypatch: pytest.MonkeyPatch, last: str, mutant: list[bool], right: list[bool], verdict: str
) -> None:
    import one

    answers = {"mutant": iter(mutant), "right": iter(right)}
    cases = {
        name: SimpleNamespace(
            nodeid=f"test_x.py::it[{name}]",
            name="it",
            originalname="it",
            path=Path("test_x.py"),
            callspec=SimpleNamespace(params={"manifest": SimpleNamespace(name=name)}),
        )
        for name in answers
    }

    def notices(self: Any, item: Any) -> bool:
        self._noticed = "it BC-X-01"
        return next(answers[item.callspec.params["manifest"].name])

    monkeypatch.setattr(one.Conduct, "_notices", notices)
    conduct = one.Conduct([], last, 1.0)
    session = SimpleNamespace(items=list(cases.values()))
    conduct.pytest_collection_modifyitems(session.items)
    conduct.pytest_runtestloop(session)
    assert conduct.verdict == verdict
    assert [list(rest) for rest in answers.values()] == [[], []], "nothing is run for nothing"


def test_a_case_that_comes_to_no_verdict_is_ended(tool, tmp_path: Path) -> None:
    bad, good = tmp_path / "frames.py", tool["targets"].TARGETS["backchannel.frames"].path
    bad.write_text("while True: pass\n")
    case = "test_codec_reads_messages"
    order = json.dumps({"first": [case], "last": case})
    command = [sys.executable, FOLDER / "one.py", "backchannel.frames", bad, good, "100", "1", order]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout.split()) == (1, [case, "error"]), done.stdout + done.stderr
