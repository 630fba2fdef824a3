"""Random tests draw the same examples in each run of CI, and new ones elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASK = """
import sys; sys.path.insert(0, "tests"); import conftest
from hypothesis import settings
print(settings().derandomize, settings().database is None, settings().max_examples)
"""


@pytest.mark.parametrize(("surroundings", "said"), [({"CI": "true"}, "True True 100"), ({}, "False False 100")])
def test_profile(surroundings: dict[str, str], said: str) -> None:
    bare = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, check=True, cwd=ROOT, env=bare | surroundings
    )
    assert done.stdout.strip() == said


def test_no_random_test_has_settings_of_its_own() -> None:
    """One that pins a number of examples is not explored, one that pins a database is not the same in CI."""
    asking = [path for path in (ROOT / "tests").rglob("*.py") if "settings(max_examples=" in path.read_text()]
    assert sorted(path.name for path in asking) == ["effort.py", "test_random.py"]
