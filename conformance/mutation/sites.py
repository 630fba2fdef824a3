"""One place in a source and one change of it: a *site*.

Nobody chooses the places, so what the suite finds among them says how much it would find of what nobody thought of.
:mod:`python_sites` and :mod:`c_sites` find them. The change is made in the text, so every other line stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

__all__ = ["Site", "numbered"]


@dataclass(frozen=True)
class Site:
    """One change: ``source[start:end]`` becomes ``new``."""

    module: str
    function: str
    """Empty outside of functions."""
    statement: str
    """The one around it, without those that are in it, and however it is laid out."""
    kind: str
    line: int
    start: int
    end: int
    old: str
    new: str
    nth: int = 1
    """Of equal changes of equal statements in one function: which."""

    @property
    def id(self) -> str:
        """Names it for as long as its function has this statement: module, function, and a digest. No line is in it,
        nor the layout, so that edits elsewhere leave it as it is.
        """
        text = "\0".join((self.function, self.statement, self.kind, _spaced(self.old), self.new, str(self.nth)))
        return f"{self.module}:{self.function}:{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def apply(self, source: str) -> str:
        """``source`` with the change made."""
        return source[: self.start] + self.new + source[self.end :]

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.function}: {_short(self.old)} -> {_short(self.new)}"


def numbered(found: Iterable[Site]) -> list[Site]:
    """The sites in the order of the text, equal ones told apart."""
    seen: dict[tuple[str, ...], int] = {}
    result: list[Site] = []
    for site in sorted(found, key=lambda site: (site.start, site.end, site.kind)):
        key = (site.function, site.statement, site.kind, _spaced(site.old), site.new)
        seen[key] = seen.get(key, 0) + 1
        result.append(replace(site, nth=seen[key]))
    return result


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _short(text: str) -> str:
    text = _spaced(text)
    return text if len(text) <= 60 else f"{text[:57]}..."
