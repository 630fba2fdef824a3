"""Run a program of the references with one rule broken.

    python mutate.py MUTANT -m backchannel_sync ARGUMENTS...
    python mutate.py MUTANT conformance/adapters/sync_codec.py
    python mutate.py MODULE=FILE -m backchannel_sync ARGUMENTS...    # FILE holds MODULE as it is to be

A mutant is a function of :mod:`wrong`, by its name there. It changes what it has imported, in this process and in those
that are forked from it; no file is touched.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


class Finder(importlib.abc.MetaPathFinder):
    """Finds the one module, and has it loaded from another file."""

    def __init__(self, module: str, file: str) -> None:
        self._module = module
        self._file = file

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's own place, and this loader."""
        if name != self._module:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert found
        assert found.origin
        loader = _Loader(name, found.origin, self._file)
        return importlib.util.spec_from_file_location(name, found.origin, loader=loader)


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, file: str) -> None:
        super().__init__(name, path)
        self._file = file

    def get_code(self, fullname: str) -> Any:
        return compile(Path(self._file).read_text(), self.path, "exec")


def break_rule(name: str) -> None:
    """Apply the mutant of that name, or ``MODULE=FILE``."""
    module, equals, file = name.partition("=")
    if equals:
        sys.meta_path.insert(0, Finder(module, file))
        return
    import wrong

    wrong.find(name).apply()


def main(change: Callable[[str], None] = break_rule) -> None:
    """Make the change of that name, and be the program."""
    name, what, *rest = sys.argv[1:]
    change(name)
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
