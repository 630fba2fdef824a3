"""Mechanical mutation: where the changes are made, and that one is seen by the suite and none is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "conformance" / "mutation"
FRAMES = ROOT / "reference" / "core" / "backchannel" / "frames.py"

SOURCE = '''
"""A module."""
TABLE = {1: 2}


def outer(a, b):
    """Words."""
    if a < b and not b:
        log.warning("%s", a)
        self.x = call(a, b)
    elif a:
        raise ValueError(f"{a - b}")
    return a + 1
'''


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(FOLDER)
    import sites

    return sites


def test_changes_are_made_where_rules_are(sites) -> None:
    found = {(site.kind, site.old, site.new) for site in sites.sites_of("m", SOURCE)}
    assert found == {
        ("connective", "a < b and not b", "(a < b or not b)"),
        ("condition", "a < b and not b", "(not b)"),
        ("condition", "a < b and not b", "(a < b)"),
        ("comparison", "a < b", "(a <= b)"),
        ("negation", "not b", "(b)"),
        ("statement", "self.x = call(a, b)", "pass"),
        ("arguments", "call(a, b)", "(call(b, a))"),
        ("negation", "a", "(not a)"),
        ("statement", 'raise ValueError(f"{a - b}")', "pass"),
        ("arithmetic", "a + 1", "(a - 1)"),
        ("constant", "1", "2"),
    }


def test_each_site_compiles_and_has_a_name_of_its_own(sites) -> None:
    names: list[str] = []
    for path in sorted((ROOT / "reference" / "core").rglob("*.py")):
        source = path.read_text()
        for site in sites.sites_of(path.stem, source):
            changed = site.apply(source)
            assert changed != source
            compile(changed, str(path), "exec")
            names.append(f"{path}{site.id}")
    assert len(names) == len(set(names)) > 1000


def test_a_name_stays_when_lines_move(sites) -> None:
    moved = SOURCE.replace("TABLE", "# a line\nTABLE")
    assert [site.id for site in sites.sites_of("m", SOURCE)] == [site.id for site in sites.sites_of("m", moved)]


def run_codec(module: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "one.py"), "backchannel.frames", str(module), "1", "codec"]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_one_change_is_seen_by_the_suite(sites, tmp_path: Path) -> None:
    source = FRAMES.read_text()
    site = next(site for site in sites.sites_of("frames", source) if site.old == "reserved" and site.kind == "negation")
    changed = tmp_path / "frames.py"
    changed.write_text(site.apply(source))
    done = run_codec(changed)
    assert done.returncode == 1, done.stderr
    assert "test_codec" in done.stdout


def test_no_change_is_seen_where_there_is_none() -> None:
    done = run_codec(FRAMES)
    assert done.returncode == 0, done.stdout + done.stderr
