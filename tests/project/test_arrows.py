"""Which part may import which: the arrows of the architecture, read from the sources."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

CORE = "backchannel"
SHELLS = {"backchannel_sync", "backchannel_trio"}
SUITE = "backchannel_conformance"
IO = set("socket os select selectors signal time trio subprocess threading asyncio".split())

# Each source root, its package, and the modules that nothing in it may import.
ROOTS = {
    "reference/core": (CORE, SHELLS | {SUITE} | IO),
    "reference/sync": ("backchannel_sync", {"backchannel_trio", SUITE}),
    "reference/trio": ("backchannel_trio", {"backchannel_sync", SUITE}),
    "conformance": (SUITE, SHELLS | {CORE}),
}


def imports(source: str) -> Iterator[tuple[int, str]]:
    """The line and the top-level name of each absolute import, wherever in the module it is."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(level=0, module=str(module)):
                found = [module]
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                found = [module]
            case _:
                continue
        for name in found:
            yield node.lineno, name.partition(".")[0]


def present() -> set[str]:
    """The source roots that there are: every folder of Python in reference/, and the suite's."""
    folders = [*(REPOSITORY / "reference").iterdir(), REPOSITORY / "conformance"]
    return {
        folder.relative_to(REPOSITORY).as_posix()
        for folder in folders
        if folder.is_dir() and any(folder.rglob("*.py"))
    }


def test_every_root_has_its_arrows() -> None:
    assert "reference/core" in present()
    assert present() <= ROOTS.keys()


@pytest.mark.parametrize("root", sorted(ROOTS))
def test_arrows(root: str) -> None:
    forbidden = ROOTS[root][1]
    wrong = [
        f"{path.relative_to(REPOSITORY)}:{line}: imports {name}"
        for path in sorted((REPOSITORY / root).rglob("*.py"))
        for line, name in imports(path.read_text("utf-8"))
        if name in forbidden
    ]
    assert wrong == []


@pytest.mark.parametrize("root", sorted(ROOTS))
def test_root_is_no_package(root: str) -> None:
    """A package there would be called core, sync, trio or conformance, and hide the real trio."""
    assert not (REPOSITORY / root / "__init__.py").exists()


@pytest.mark.parametrize("root", sorted(ROOTS))
def test_root_holds_its_package(root: str) -> None:
    if root in present():
        assert (REPOSITORY / root / ROOTS[root][0] / "__init__.py").is_file()


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import os.path as p",
        "import sys, os",
        "from os import path",
        "from os.path import join",
        "def f():\n    import os",
        "if TYPE_CHECKING:\n    import os",
        "__import__('os')",
        "importlib.import_module('os.path')",
        "import_module('os')",
    ],
)
def test_an_import_is_seen(source: str) -> None:
    assert "os" in {name for _, name in imports(source)}


@pytest.mark.parametrize("source", ["from . import os", "from .os import x", "import osx", "os = 1"])
def test_what_is_no_import_is_not(source: str) -> None:
    assert "os" not in {name for _, name in imports(source)}
