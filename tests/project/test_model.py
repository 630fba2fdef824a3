"""What can be said of the models without spin: ``nox -s model`` is what checks them."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from backchannel_conformance.requirements import Requirements

MODEL = Path(__file__).parents[2] / "spec" / "1.0" / "model"
ENTRIES = tomllib.loads((MODEL / "variants.toml").read_text())
SIZES = {"W", "C", "CAP", "F", "LISTENERS", "NO_DEADLINE"}


@pytest.mark.parametrize("entry", ENTRIES["variant"], ids=lambda entry: entry["left_out"])
def test_variant_leaves_out_a_rule_that_is_there(entry: dict[str, object]) -> None:
    assert entry["requirement"] in Requirements.load()
    source = (MODEL / f"{entry['model']}.pml").read_text()
    define = entry["define"]
    assert isinstance(define, dict)
    [rule] = define.keys() - SIZES
    assert f"#ifdef {rule}\n" in source or f"#ifndef {rule}\n" in source or f"defined({rule})" in source
    # and the whole of it holds: the same property is verified, or safety is
    assert any(
        (other["model"], other.get("property")) == (entry["model"], entry.get("property"))
        for other in ENTRIES["verify"]
    )


def test_no_rule_can_be_left_out_unnoticed() -> None:
    used = {name for entry in ENTRIES["variant"] for name in entry["define"]}
    for source in MODEL.glob("*.pml"):
        words = source.read_text().split()
        offered = {words[at + 1] for at, word in enumerate(words) if word in ("#ifdef", "#ifndef")}
        assert offered <= used | SIZES, source.name


def test_without_spin_it_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(MODEL / "check.py")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert done.stderr == "model: there is no 'spin' here: install it (Debian: apt-get install spin)\n"
