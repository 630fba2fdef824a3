"""The variants: none is stale, and each says what allows it. ``nox -s variants`` runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from backchannel_conformance.manifest import ROLES
from backchannel_conformance.requirements import Requirements

FOLDER = Path(__file__).parents[2] / "conformance" / "variants"


def variants(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(FOLDER), *arguments], capture_output=True, text=True, check=False)


def test_none_is_stale(apply_each: Callable[..., dict[str, str]]) -> None:
    said = apply_each("allowed", FOLDER)
    assert len(said) >= 40
    assert not {name: text for name, text in said.items() if text}


def test_each_says_what_allows_it() -> None:
    known = Requirements.load()
    lines = variants("--list").stdout.splitlines()
    assert len(lines) >= 40
    for line in lines:
        clause, name, *roles = re.split(r",? +", line.strip())
        assert clause in known, name
        assert set(roles) <= set(ROLES), name


@pytest.mark.parametrize("seed", ["1", "2"])
def test_each_case_is_dealt_once(seed: str) -> None:
    done = variants("--role", "worker", "--deal", seed, "--", "--collect-only", "-k", "test_nothing_pending")
    found = re.findall(r"test_nothing_pending\[(\S+?)(-\d)?\]", done.stdout)
    assert sorted(capacity for _, capacity in found) == ["-1", "-4"], done.stdout


def test_unknown_variant() -> None:
    done = variants("no_such:variant")
    assert done.returncode == 2
    assert "there is no variant no_such:variant" in done.stderr
