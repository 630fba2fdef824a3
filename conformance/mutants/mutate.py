"""Run a program of the references with one rule broken.

    python mutate.py MUTANT -m backchannel_sync ARGUMENTS...
    python mutate.py MUTANT conformance/adapters/sync_codec.py
    python mutate.py MODULE=FILE -m backchannel_sync ARGUMENTS...    # FILE holds MODULE as it is to be

A mutant is a line of ``mutants.toml``: in one module, one piece of text is another. The module is changed as it is
imported, in this process alone; its file is not touched.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import runpy
import sys
import tomllib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

TABLE = Path(__file__).with_name("mutants.toml")


class Stale(Exception):
    """The text that a mutant replaces is not there, or not once."""


def table() -> list[dict[str, Any]]:
    """All mutants."""
    found: list[dict[str, Any]] = tomllib.loads(TABLE.read_text())["mutant"]
    return found


def excused() -> list[dict[str, str]]:
    """Cases that need no mutant yet, each with the reason."""
    found: list[dict[str, str]] = tomllib.loads(TABLE.read_text()).get("excused", [])
    return found


def unbroken() -> dict[str, str]:
    """Requirements that no mutant breaks, each with the reason."""
    return {entry["requirement"]: entry["why"] for entry in tomllib.loads(TABLE.read_text()).get("unbroken", [])}


def changed(mutant: dict[str, Any], source: str) -> str:
    """``source`` with the rule broken. Raises :class:`Stale`."""
    for old, new in [(mutant["old"], mutant["new"]), *mutant.get("also", [])]:
        if source.count(old) != 1:
            what = f"{mutant['module']} holds this {source.count(old)} times, not once: {old!r}"
            raise Stale(f"mutant {mutant['name']!r} is stale; fix {TABLE.name}: {what}")
        source = source.replace(old, new)
    return source


class Finder(importlib.abc.MetaPathFinder):
    """Finds the one module, and has it loaded changed."""

    def __init__(self, module: str, change: Callable[[str], str]) -> None:
        self._module = module
        self._change = change

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's own place, and this loader."""
        if name != self._module:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert found
        assert found.origin
        loader = _Loader(name, found.origin, self._change)
        return importlib.util.spec_from_file_location(name, found.origin, loader=loader)


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, change: Callable[[str], str]) -> None:
        super().__init__(name, path)
        self._change = change

    def get_code(self, fullname: str) -> Any:
        return compile(self._change(Path(self.path).read_text()), self.path, "exec")


def finder(name: str) -> Finder:
    """Of a mutant of the table, or of ``MODULE=FILE``."""
    module, equals, file = name.partition("=")
    if equals:
        return Finder(module, lambda _source: Path(file).read_text())
    (mutant,) = (one for one in table() if one["name"] == name)
    return Finder(mutant["module"], partial(changed, mutant))


def main() -> None:
    """Break the rule, and be the program."""
    name, what, *rest = sys.argv[1:]
    sys.meta_path.insert(0, finder(name))
    sys.path.pop(0)
    if what == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [what, *rest]
        sys.path.insert(0, os.path.dirname(what))
        runpy.run_path(what, run_name="__main__")


if __name__ == "__main__":
    main()
