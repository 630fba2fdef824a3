"""``run --jobs``: several cases at once change nothing but the time."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from backchannel_conformance.cli import main
from faulty_codec import install


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The few cases of a codec are worth two helpers."""
    monkeypatch.setattr("backchannel_conformance.parallel.LEAST", 4)


def run(folder: Path, jobs: int, *more: str, options: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
    """A codec with one fault; what the report holds of it but for the times."""
    folder.mkdir(exist_ok=True)
    arguments = ["--manifest", str(install(folder)), "--no-controls", "--report", str(folder), *options]
    status = main(["run", *arguments, "--jobs", str(jobs), "--", "-q", *more])
    report = json.loads((folder / "report.json").read_text())
    cases = report["implementations"][0]["cases"]
    return status, {case["id"]: {**case, "seconds": None} for case in cases}


def outcomes(folder: Path) -> dict[str, set[str]]:
    """What the JUnit file says of each case."""
    found: dict[str, set[str]] = {}
    for case in ET.parse(folder / "junit.xml").iter("testcase"):
        found[case.attrib["name"]] = {child.tag for child in case} - {"properties"}
    return found


@pytest.mark.usefixtures("helpers")
def test_the_same_comes_of_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    alone = run(tmp_path / "alone", 1)
    said_alone = capfd.readouterr().out
    shared = run(tmp_path / "shared", 2)
    said_shared = capfd.readouterr().out
    assert shared == alone
    assert alone[0] == 1
    assert outcomes(tmp_path / "shared") == outcomes(tmp_path / "alone")
    failed = [line for line in said_alone.splitlines() if line.startswith("FAILED")]
    assert failed
    assert [line for line in said_shared.splitlines() if line.startswith("FAILED")] == failed


@pytest.mark.usefixtures("helpers")
def test_baseline_excuses_what_a_helper_found(tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    known.write_text('[mine]\nBC-VER-02 = "not yet"\n')
    status, cases = run(tmp_path / "run", 2, options=("--baseline", str(known)))
    assert status == 0
    assert "known" in {case["status"] for case in cases.values()}


@pytest.mark.usefixtures("helpers")
def test_first_failure_ends_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, cases = run(tmp_path / "run", 2, "-x")
    assert status == 1
    assert "stopping after 1 failures" in capfd.readouterr().out
    assert [case["status"] for case in cases.values()].count("fail") == 1


@pytest.fixture
def dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each helper ends before it has said anything."""
    (tmp_path / "sitecustomize.py").write_text("import os, sys\nif '--helper' in sys.argv: os._exit(9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


@pytest.mark.usefixtures("dying")
def test_what_is_left_out_needs_no_helper(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, cases = run(tmp_path / "run", 2)
    assert status == 1
    assert "a helper ended" not in capfd.readouterr().out
    assert [case["status"] for case in cases.values()].count("not-applicable") > 100


@pytest.mark.usefixtures("helpers", "dying")
def test_helper_that_dies(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, _ = run(tmp_path / "run", 2)
    assert status == 1
    assert "a helper ended while it ran" in capfd.readouterr().out


@pytest.mark.usefixtures("helpers")
def test_nothing_runs_alone(tmp_path: Path) -> None:
    status, cases = run(tmp_path / "run", 2, "-m", "codec")
    assert (status, cases["test_codec_ends_with_its_input"]["status"]) == (1, "pass")


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_jobs(jobs: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--impl", "sync", "--jobs", str(jobs)]) == 2
    assert "--jobs" in capfd.readouterr().err
