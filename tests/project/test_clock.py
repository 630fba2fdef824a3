"""Every deadline is on monotonic time (BC-FORK-09): nothing that a server runs asks for the time of day."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WALL_CLOCK = {"time", "time_ns", "localtime", "gmtime", "clock_gettime"}
FILES = [
    path for name in ("core", "server", "sync", "trio") for path in sorted((ROOT / "reference" / name).rglob("*.py"))
]


def asks(tree: ast.AST) -> Iterator[str]:
    """Every use of the time of day."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if any(alias.name == "datetime" for alias in names):
                yield f"line {node.lineno}: datetime"
            case ast.ImportFrom(module="datetime"):
                yield f"line {node.lineno}: datetime"
            case ast.ImportFrom(module="time", names=names):
                yield from (f"line {node.lineno}: {alias.name}" for alias in names if alias.name in WALL_CLOCK)
            case ast.Attribute(value=ast.Name(id="time"), attr=name) if name in WALL_CLOCK:
                yield f"line {node.lineno}: time.{name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_asks_for_the_time_of_day(path: Path) -> None:
    assert not list(asks(ast.parse(path.read_text())))


def test_the_check_can_fail() -> None:
    assert list(asks(ast.parse("import time\nfrom time import time_ns\nlater = time.time() + 1\n"))) == [
        "line 2: time_ns",
        "line 3: time.time",
    ]
