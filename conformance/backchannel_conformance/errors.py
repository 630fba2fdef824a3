"""What a case may say: a requirement is broken, the pool or the harness went wrong, or the user made a mistake.

Only ``Broken`` is a verdict about the specification. Whatever else is raised in a case is an *error*: a crash, a
time-out or nonsense is never a pass, and never counts as the proper failure of a control either.
"""

from __future__ import annotations

import warnings

from backchannel_conformance.requirements import Catalogue, Requirement


class Mistake(Exception):
    """The user's mistake: one line that names the thing and the remedy, exit status 2."""


class Broken(AssertionError):
    """A requirement that the pool under test does not meet."""


class HarnessError(Exception):
    """The pool could not be run or watched as the contract says; the verdict is *error*."""


class LapseWarning(UserWarning):
    """A SHOULD that the pool does not follow; the verdict is *warn*, and red under ``--strict``."""


class _Current:
    """The catalogue in use, and the ids that the running case has declared (None outside a case)."""

    catalogue: Catalogue | None = None
    declared: frozenset[str] | None = None


def use_catalogue(catalogue: Catalogue) -> None:
    _Current.catalogue = catalogue


def declare(ids: frozenset[str] | None) -> None:
    _Current.declared = ids


def check(condition: object, requirements: str, saw: str) -> None:
    """Go on if ``condition`` holds; else say which requirement is broken and what was seen.

    ``requirements`` is one id, or several separated by blanks when one observation speaks about all of them. The first
    one gives the level: a SHOULD warns, everything else fails.
    """
    ids = requirements.split()
    if _Current.declared is not None:
        undeclared = [name for name in ids if name not in _Current.declared]
        if undeclared:
            raise LookupError(f"the case checks {undeclared[0]} without naming it in its req marker")
    if condition:
        return
    found = [_requirement(name) for name in ids]
    message = saw + "".join(f"\n    {item.id} ({item.level}): {item.text}" for item in found)
    message = f"{' '.join(ids)}: {message}"
    if found and found[0].level.startswith("SHOULD"):
        warnings.warn(LapseWarning(message), stacklevel=2)
        return
    raise Broken(message)


def _requirement(name: str) -> Requirement:
    if _Current.catalogue is None:
        return Requirement(id=name, level="MUST", role="", cls="", text="(no specification at hand)", source="")
    return _Current.catalogue[name]
