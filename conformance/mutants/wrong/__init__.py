"""Wrong implementations: each is a function that breaks one rule in a reference, when it is called.

A function here names the clause that it breaks, the role as which it is tested, and the cases that must fail on it. It
reaches what it changes by import, so linters, type checkers and renames see it, and one that is stale says so: an
``AttributeError`` names the class, :class:`Stale` the function. There is one module for each module that is changed,
and it imports no more than that.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any

__all__ = ["Mutant", "Stale", "every", "find", "rewrite", "wrong"]


class Stale(Exception):
    """The text that a mutant replaces is not in its function, or not once."""


@dataclass(frozen=True)
class Mutant:
    """A wrong implementation: what it is tested as, what it breaks, what must fail on it, and how it is made."""

    name: str
    """``MODULE:NAME``, by which :func:`find` finds it."""
    role: str
    breaks: str
    kills: tuple[str, ...]
    apply: Callable[[], None]


_found: dict[str, Mutant] = {}
_rewritten: dict[FunctionType, str] = {}
"""The source of functions that :func:`rewrite` has changed."""


def wrong(breaks: str, *, role: str, kills: Iterable[str]) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Decorate a function that makes an implementation wrong when it is called."""

    def register(apply: Callable[[], None]) -> Callable[[], None]:
        name = f"{apply.__module__.rpartition('.')[2]}:{apply.__name__.replace('_', '-')}"
        if name in _found:
            raise ValueError(f"there are two mutants {name}")
        _found[name] = Mutant(name, role, breaks, tuple(kills), apply)
        return apply

    return register


def find(name: str) -> Mutant:
    """The mutant of that name; nothing is imported but its module and what that changes. Raises ``KeyError``."""
    module = name.partition(":")[0]
    if (Path(__file__).parent / f"{module}.py").exists():
        import_module(f"{__name__}.{module}")
    return _found[name]


def every() -> list[Mutant]:
    """All of them."""
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        import_module(f"{__name__}.{path.stem}")
    return list(_found.values())


def rewrite(function: Any, old: str, new: str) -> None:
    """Put ``new`` in the place of ``old`` in the source of ``function``, a property or a generator of contexts as well.

    For a rule that is broken in the middle of something. The function itself is changed, wherever it is known already.
    Both texts are as they were with no indentation before the ``def``. Raises :class:`Stale`.
    """
    function = _plain(function)
    # what an earlier piece has changed is not in the file
    source = _rewritten.get(function) or textwrap.dedent(inspect.getsource(function))
    if source.count(old) != 1:
        name = f"{function.__module__}.{function.__qualname__}"
        raise Stale(f"{name} holds this {source.count(old)} times, not once: {old!r}")
    source = source.replace(old, new)
    made = _compiled(function, source)
    _rewritten[function] = source
    function.__code__ = made.__code__
    function.__defaults__, function.__kwdefaults__ = made.__defaults__, made.__kwdefaults__


def _plain(function: Any) -> FunctionType:
    match function:
        case property(fget=found) if found is not None:
            function = found
        case cached_property(func=found):
            function = found
    function = inspect.unwrap(getattr(function, "__func__", function))
    assert isinstance(function, FunctionType)
    return function


def _compiled(function: FunctionType, source: str) -> FunctionType:
    tree = ast.parse(source)
    (definition,) = tree.body
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    definition.decorator_list = []
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    code = compile(tree, function.__code__.co_filename, "exec", __future__.annotations.compiler_flag, True)
    made: dict[str, FunctionType] = {}
    exec(code, function.__globals__, made)
    return made[definition.name]
