"""Who may import whom: the core nothing that does I/O, the suite nothing that it tests."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

IO_MODULES = {"socket", "os", "select", "selectors", "signal", "time", "trio", "subprocess", "threading", "asyncio"}
PACKAGES = {
    "backchannel",
    "backchannel_server",
    "backchannel_sync",
    "backchannel_trio",
    "backchannel_tools",
    "backchannel_conformance",
}
ARROWS = {
    "reference/core": IO_MODULES | PACKAGES - {"backchannel"},
    # no loop at all, but that what it knows of a system's pollers is behind the interface of ``selectors``
    "reference/server": PACKAGES - {"backchannel", "backchannel_server"} | {"trio", "asyncio", "threading"},
    "reference/sync": PACKAGES - {"backchannel", "backchannel_server", "backchannel_sync"}
    | {"trio", "asyncio", "threading"},
    "reference/trio": PACKAGES - {"backchannel", "backchannel_server", "backchannel_trio"}
    | {"asyncio", "threading", "selectors", "subprocess"},
    # they know the contract and the frames: any pool's document, any port's octets
    "reference/tools": PACKAGES - {"backchannel", "backchannel_tools"} | {"trio", "asyncio", "threading", "subprocess"},
    "conformance/backchannel_conformance": PACKAGES - {"backchannel_conformance"},
    "conformance/controls": PACKAGES - {"backchannel_conformance"},
}


def imported(path: Path) -> set[str]:
    """The first names of all modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("folder", ARROWS)
def test_imports_stay_within_the_architecture(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(ROOT)): both for path in files if (both := imported(path) & ARROWS[folder])}
    assert not wrong, "imports go down only, and the loops do not know each other: docs/internals.rst, Three layers"


def test_no_package_hides_trio() -> None:
    assert not (ROOT / "reference" / "trio" / "__init__.py").exists()


def test_the_arrows_can_fail(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def f():\n    import socket.x\n    from trio import run\n")
    assert imported(tmp_path / "bad.py") == {"socket", "trio"}
