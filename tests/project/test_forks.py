"""Nothing forks beside other threads, or inside a running event loop (BC-FORK-06).

One function forks, and one module, whose parent has no thread and no loop but its own plain one, calls it. That neither
reference starts threads is held by ``test_arrows``: nothing that makes them is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [
    path for name in ("core", "server", "sync", "trio") for path in sorted((ROOT / "reference" / name).rglob("*.py"))
]
FORKS = {"fork", "forkpty", "fork_worker", "to_thread", "run_in_executor"}
ALLOWED = {
    "reference/server/backchannel_server/fork_binding.py": {"fork"},
    "reference/sync/backchannel_sync/parent.py": {"fork_worker"},
}


def forks(tree: ast.AST) -> Iterator[str]:
    """Every use of what forks, or starts a thread."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) if name in FORKS:
                yield name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_one_place_forks(path: Path) -> None:
    assert set(forks(ast.parse(path.read_text()))) == ALLOWED.get(path.relative_to(ROOT).as_posix(), set())


def test_the_check_can_fail() -> None:
    source = "import os, trio\nfrom os import fork\nos.forkpty()\ntrio.to_thread.run_sync(work)\n"
    assert list(forks(ast.parse(source))) == ["fork", "forkpty", "to_thread"]
