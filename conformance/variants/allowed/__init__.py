"""Right implementations that differ from the references: each is a function that changes one, when it is called.

A mutant breaks a clause, and a case must fail on it. A variant uses a freedom that a clause leaves, and no case may
fail on it: a case that does forbids what the specification allows. A function here names the clause that leaves the
freedom, and the roles in which it can be seen. There is one module for each part of an implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

__all__ = ["Variant", "allowed", "every", "find", "put"]


@dataclass(frozen=True)
class Variant:
    """A right implementation: what it is tested as, what allows it, and how it is made."""

    name: str
    """``MODULE:NAME``, by which :func:`find` finds it."""
    roles: tuple[str, ...]
    by: str
    """The clause that leaves the freedom, or that the freedom is taken from."""
    without: frozenset[str]
    """Classes that it does not declare."""
    advice: frozenset[str]
    """Clauses of level SHOULD that it does not follow: cases may warn of these."""
    words: tuple[tuple[str, str], ...]
    """Words of the command that are replaced: (old, new)."""
    apply: Callable[[], None] = field(repr=False)


_found: dict[str, Variant] = {}


def allowed(
    by: str,
    *,
    roles: Iterable[str],
    without: Iterable[str] = (),
    advice: Iterable[str] = (),
    words: Iterable[tuple[str, str]] = (),
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Decorate a function that makes an implementation another one when it is called."""

    def register(apply: Callable[[], None]) -> Callable[[], None]:
        name = f"{apply.__module__.rpartition('.')[2]}:{apply.__name__.replace('_', '-')}"
        if name in _found:
            raise ValueError(f"there are two variants {name}")
        _found[name] = Variant(name, tuple(roles), by, frozenset(without), frozenset(advice), tuple(words), apply)
        return apply

    return register


def put(owner: object, name: str, value: object) -> None:
    """Put ``value`` in the place of what ``owner`` has under ``name``. Raises ``AttributeError`` if it has no such
    thing: then the variant is stale.
    """
    getattr(owner, name)
    setattr(owner, name, value)


def find(name: str) -> Variant:
    """The variant of that name; nothing is imported but its module and what that changes. Raises ``KeyError``."""
    module = name.partition(":")[0]
    if (Path(__file__).parent / f"{module}.py").exists():
        import_module(f"{__name__}.{module}")
    return _found[name]


def every() -> list[Variant]:
    """All of them."""
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        import_module(f"{__name__}.{path.stem}")
    return list(_found.values())
