"""The suite about itself: it reads the specification, its oracle is right, and it cannot be fooled by a control."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
from backchannel_conformance import manifest
from backchannel_conformance.cli import main
from backchannel_conformance.errors import RequirementViolated
from backchannel_conformance.model import picking
from backchannel_conformance.requirements import Requirements

ROOT = Path(__file__).parents[2]


def test_requirements_are_read() -> None:
    requirements = Requirements.load()
    assert requirements.text("BC-FRAME-01").startswith("A frame MUST be exactly 20 octets: version, type,")
    assert requirements.text("BC-ERRNO-01").endswith("EAGAIN, EWOULDBLOCK.")
    assert "not found" in requirements.text("BC-NONE-01")


def test_broken_quotes_its_clause() -> None:
    text = str(RequirementViolated("BC-HERD-01", "everybody woke"))
    assert text.startswith("BC-HERD-01 does not hold: everybody woke")
    assert "MUST wake no worker other than the one ordered" in text


def test_every_case_names_requirements_and_says_what_it_shows() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "backchannel_conformance", "list"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("test_")]
    assert len(lines) > 20
    for line in lines:
        assert "BC-" in line, line


def test_installed_plugins_are_left_out(tmp_path: Path) -> None:
    installed = tmp_path / "stranger-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[pytest11]\nstranger = stranger\n")
    (tmp_path / "stranger.py").write_text("raise SystemExit('a stranger was loaded')\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))

    def loads(*command: str) -> bool:
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-m", *command], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        return "a stranger was loaded" in done.stderr

    chosen = ("--role", "codec", "--", "--collect-only")
    assert loads("pytest", "--version", "--version")
    assert not loads("backchannel_conformance", "list", "--role", "codec")
    assert not loads("backchannel_conformance", "run", "--impl", "sync", "--report", str(tmp_path), *chosen)


def test_oracle() -> None:
    assert picking.lowest({0: 1, 1: 0, 2: 0}, 1) == 1
    assert picking.lowest({0: 1}, 1) is None
    assert picking.least_loaded({0: 2, 1: 1, 2: 1}, 4) == 1
    assert picking.least_loaded({0: 4}, 4) is None


def run(tmp_path: Path, text: str, *arguments: str) -> tuple[int, dict[str, object]]:
    """The suite against one manifest, in a process of its own."""
    (tmp_path / "it.toml").write_text(text)
    command = [sys.executable, "-m", "backchannel_conformance", "run", "--manifest", str(tmp_path / "it.toml")]
    command += ["--no-controls", "--report", str(tmp_path / "report"), "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    return done.returncode, json.loads((tmp_path / "report" / "report.json").read_text())


def control(program: str, expect: str) -> str:
    path = ROOT / "conformance" / "controls" / program
    return f"""
contract = "1.0"
spec = "1.0"
[implementation]
name = "it"
language = "Python"
[pool]
command = ["{{python}}", "{path}", "{{listen}}", "{{max}}"]
{expect}
"""


def test_control_that_does_not_fail_fails_the_run(tmp_path: Path) -> None:
    expect = '[expect]\nmust_fail = ["test_no_herd_by_tree"]'
    status, report = run(tmp_path, control("blocking_accept.py", expect))
    assert status == 1
    (it,) = report["controls"]  # type: ignore[misc]
    assert not it["behaved"]


def test_control_that_crashes_has_not_failed_properly(tmp_path: Path) -> None:
    expect = '[expect]\nmust_fail = ["test_no_herd_by_tree"]'
    status, report = run(tmp_path, control("no_such_program.py", expect))
    assert status == 1
    (it,) = report["controls"]  # type: ignore[misc]
    assert not it["behaved"]
    assert {case["status"] for case in it["cases"]} == {"error"}


def test_control_without_what_it_must_fail_is_fine_where_the_user_chose(tmp_path: Path) -> None:
    expect = '[expect]\nmust_fail = ["test_kill_storm"]\nshow = ["test_no_herd_by_tree"]'
    status, report = run(tmp_path, control("blocking_accept.py", expect), "-k", "test_no_herd_by_tree")
    (it,) = report["controls"]  # type: ignore[misc]
    assert [case["id"] for case in it["cases"]] == ["test_no_herd_by_tree"]
    assert it["behaved"]
    assert status == 0


def test_list_needs_no_implementation(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Installed from a wheel the suite comes without any."""
    monkeypatch.setattr(manifest, "names", lambda _folder: [])
    assert main(["list", "--", "-k", "BC-HERD-01"]) == 0
    said = capfd.readouterr().out
    assert "test_no_herd (pool): BC-HERD-01" in said
    assert "BC-HERD-01 MUST" in said
    assert "codec" not in said


def test_herd_given_as_an_implementation_is_broken(tmp_path: Path) -> None:
    status, report = run(tmp_path, control("naive_herd.py", ""), "-k", "test_no_herd and not 32 and not tree")
    assert status == 1
    (it,) = report["implementations"]  # type: ignore[misc]
    (herd,) = [case for case in it["cases"] if case["id"] == "test_no_herd"]
    assert herd["status"] == "fail"
    assert "BC-HERD-01 does not hold" in herd["message"]
    (other,) = [case for case in it["cases"] if case["id"] == "test_no_herd_at_capacity_8"]
    assert other["status"] == "not-applicable"


def test_keys_of_the_report_stay(tmp_path: Path) -> None:
    status, report = run(tmp_path, control("blocking_accept.py", ""), "-k", "test_stop_when_idle")
    schema = json.loads((ROOT / "spec" / "adapter" / "report.schema.json").read_text())
    jsonschema.validate(report, schema)
    (it,) = report["implementations"]  # type: ignore[misc]
    assert set(it["cases"][0]) == set(schema["$defs"]["case"]["properties"])
    assert status in (0, 1)


def test_placeholders_of_the_contract_are_the_suites() -> None:
    page = (ROOT / "spec" / "adapter" / "index.rst").read_text()
    for name in (*manifest.DEFAULTS, "python", "here"):
        assert f"``{{{name}}}``" in page, name


def test_classes_of_the_specification_are_the_suites() -> None:
    page = (ROOT / "spec" / "1.0" / "index.rst").read_text()
    named = {line for line in page.splitlines() if line in manifest.CLASSES}
    assert named == set(manifest.CLASSES)


@pytest.mark.parametrize("machine", ["slot", "worker"])
def test_every_state_is_reachable(machine: str) -> None:
    table = tomllib.loads((ROOT / "spec" / "1.0" / "protocol.toml").read_text())[machine]
    reached, fresh = set(), {"STARTING"}
    while fresh:
        state = fresh.pop()
        reached.add(state)
        fresh |= set(table.get(state, {}).values()) - reached
    assert set(table) <= reached


def test_advice_is_a_warning() -> None:
    requirements = Requirements.load()
    assert requirements.is_advice("BC-WAIT-04")
    assert not requirements.is_advice("BC-HERD-01")
