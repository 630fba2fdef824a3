"""The requirements as the specification words them, read from ``spec/1.0/*.rst`` without Sphinx.

Every case names the requirements it speaks about. Reading them from the specification itself lets the suite refuse a
case that names one which does not exist, and lets a failure quote the clause.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT_VARIABLE = "BACKCHANNEL_ROOT"

_DIRECTIVE = re.compile(r"^(?P<indent> *)\.\. req:: *(?P<id>\S+) *$")
_OPTION = re.compile(r"^:(?P<name>[a-z-]+): *(?P<value>.*)$")
_ROLE = re.compile(r":[a-z]+:`([^`<]+?)(?: *<[^>]*>)?`")


@dataclass(frozen=True)
class Requirement:
    id: str
    level: str
    role: str
    cls: str
    text: str
    source: str


class Catalogue(Mapping[str, Requirement]):
    """All requirements of one version, by id."""

    def __init__(self, requirements: Mapping[str, Requirement]) -> None:
        self._by_id = dict(requirements)

    def __getitem__(self, name: str) -> Requirement:
        return self._by_id[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def classes(self) -> frozenset[str]:
        return frozenset(item.cls for item in self._by_id.values())

    def nearest(self, name: str) -> str | None:
        found = difflib.get_close_matches(name, self._by_id, n=1)
        return found[0] if found else None


def extract(text: str, source: str) -> list[Requirement]:
    """The requirements of one reStructuredText file, in order."""
    lines = text.splitlines()
    found = []
    index = 0
    while index < len(lines):
        directive = _DIRECTIVE.match(lines[index])
        index += 1
        if directive is None:
            continue
        body, index = _body(lines, index, len(directive["indent"]))
        options: dict[str, str] = {}
        while body and (option := _OPTION.match(body[0])):
            options[option["name"]] = option["value"].strip()
            body.pop(0)
        found.append(
            Requirement(
                id=directive["id"],
                level=options.get("level", ""),
                role=options.get("role", ""),
                cls=options.get("class", ""),
                text=_plain(" ".join(line for line in body if line)),
                source=source,
            )
        )
    return found


def _body(lines: list[str], index: int, indent: int) -> tuple[list[str], int]:
    """The stripped lines that are indented deeper than the directive, and where they end."""
    body = []
    while index < len(lines):
        line = lines[index]
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        body.append(line.strip())
        index += 1
    return body, index


def _plain(text: str) -> str:
    """Without the markup that only Sphinx can render."""
    text = _ROLE.sub(r"\1", text)
    return re.sub(r"``(.+?)``", r"\1", text).replace("*", "")


def read_catalogue(directory: Path) -> Catalogue:
    found: dict[str, Requirement] = {}
    for path in sorted(directory.glob("*.rst")):
        for requirement in extract(path.read_text(encoding="utf-8"), path.name):
            if requirement.id in found:
                first = found[requirement.id].source
                raise ValueError(f"{requirement.id} stands in {path.name} and in {first}: an id is given once")
            found[requirement.id] = requirement
    if not found:
        raise ValueError(f"{directory} holds no requirement: is this the directory of the specification?")
    return Catalogue(found)


def find_root(given: str | None = None) -> Path | None:
    """The checkout: the one that was named, else the one around this file, else the one around the working directory."""
    named = given or os.environ.get(ROOT_VARIABLE)
    if named:
        candidates = [Path(named)]
    else:
        here = Path(__file__).resolve()
        candidates = [*here.parents, Path.cwd(), *Path.cwd().parents]
    for candidate in candidates:
        if (candidate / "spec" / "1.0" / "index.rst").is_file():
            return candidate
    return None
