"""Manifests: how the suite learns of an implementation or a control, and what a mistake in one is answered with.

A manifest is all that the suite needs to know of a pool. It is checked before anything is started, and each mistake
gives one line that names the file, the thing, and what to do about it.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import string
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backchannel_conformance import CONTRACT_VERSION, SPEC_VERSION
from backchannel_conformance.errors import Mistake

PLACEHOLDERS = (
    "python",
    "here",
    "listen",
    "status",
    "capacity",
    "start",
    "min",
    "max",
    "min_spare",
    "max_spare",
    "pass",
    "policy",
    "max_per_order",
    "order_deadline",
    "silence_deadline",
    "drain_deadline",
)
REQUIRED_PLACEHOLDERS = ("listen", "max")
CLASSES = ("minimum", "event", "counted", "listeners", "scaling", "responsive", "replace")

_KEYS = {
    "": ("contract", "spec", "implementation", "pool", "expect"),
    "implementation": ("name", "language", "classes"),
    "pool": ("command", "command_event", "environment"),
    "expect": ("must_fail", "show"),
}
_NAME = re.compile(r"[A-Za-z0-9_+-]+")


@dataclass(frozen=True)
class Manifest:
    path: Path
    name: str
    language: str
    classes: frozenset[str]
    command: tuple[str, ...]
    command_event: tuple[str, ...] | None
    environment: Mapping[str, str] = field(default_factory=dict)
    must_fail: tuple[str, ...] = ()
    show: tuple[str, ...] = ()

    @property
    def is_control(self) -> bool:
        return bool(self.must_fail or self.show)

    def command_for(self, capacity: int) -> tuple[str, ...]:
        return self.command_event if capacity > 1 and self.command_event else self.command

    def mentions(self, capacity: int = 1) -> frozenset[str]:
        """The placeholders that the command for this capacity has a place for."""
        words = (*self.command_for(capacity), *self.environment.values())
        return frozenset(name for word in words for name in placeholders(word))

    def expand(self, capacity: int, values: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """The command line and the environment it adds, with every placeholder replaced."""
        known = {"python": sys.executable, "here": str(self.path.parent), **values}
        command = [word.format_map(known) for word in self.command_for(capacity)]
        return command, {key: word.format_map(known) for key, word in self.environment.items()}


def placeholders(word: str) -> list[str]:
    """The names between braces; ``ValueError`` when the braces do not match or hold more than a name."""
    names = []
    for _, name, spec, conversion in string.Formatter().parse(word):
        if name is None:
            continue
        if spec or conversion or not name.isidentifier():
            raise ValueError(f"{{{name}}} is not a placeholder")
        names.append(name)
    return names


def load(path: Path) -> Manifest:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Mistake(f"manifest {path}: {error.strerror}; give a file that can be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Mistake(f"manifest {path}: not TOML: {error}") from None
    return _Reader(path).read(data)


class _Reader:
    """Turns the data of one file into a manifest, or says what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def wrong(self, message: str) -> Mistake:
        return Mistake(f"manifest {self.path}: {message}")

    def read(self, data: dict[str, Any]) -> Manifest:
        self.keys("", data)
        self.version(data, "contract", CONTRACT_VERSION)
        self.version(data, "spec", SPEC_VERSION)
        implementation = self.table(data, "implementation", required=True)
        pool = self.table(data, "pool", required=True)
        expect = self.table(data, "expect", required=False)
        name = self.text(implementation, "implementation", "name")
        if not _NAME.fullmatch(name):
            raise self.wrong(f"implementation.name {name!r}: use letters, digits, - _ and +")
        classes = self.texts(implementation, "implementation", "classes", required=True)
        for item in classes:
            if item not in CLASSES:
                raise self.wrong(f"class {item!r} does not exist{_nearest(item, CLASSES)}")
        command = self.command(pool, "command")
        if not command:
            raise self.wrong("pool.command is missing or empty; give the command that starts the pool")
        mentioned = {item for word in command for item in placeholders(word)}
        for item in REQUIRED_PLACEHOLDERS:
            if item not in mentioned:
                raise self.wrong(f"pool.command has no place for {{{item}}}; no pool can do without it")
        manifest = Manifest(
            path=self.path,
            name=name,
            language=self.text(implementation, "implementation", "language"),
            classes=frozenset(classes),
            command=command,
            command_event=self.command(pool, "command_event") or None,
            environment=self.environment(pool),
            must_fail=self.texts(expect, "expect", "must_fail"),
            show=self.texts(expect, "expect", "show"),
        )
        self.binaries(manifest)
        return manifest

    def keys(self, where: str, table: Mapping[str, Any]) -> None:
        for key in table:
            if key not in _KEYS[where]:
                dotted = f"{where}.{key}" if where else key
                raise self.wrong(f"unknown key {dotted!r}{_nearest(key, _KEYS[where])}")

    def version(self, data: Mapping[str, Any], key: str, supported: str) -> None:
        found = data.get(key)
        if found != supported:
            said = "is missing" if found is None else f"is {found!r}"
            raise self.wrong(f'{key} {said}; this suite speaks {key} = "{supported}"')

    def table(self, data: Mapping[str, Any], key: str, *, required: bool) -> dict[str, Any]:
        found = data.get(key, {})
        if not isinstance(found, dict) or (required and not found):
            raise self.wrong(f"table [{key}] is missing; see the adapter contract")
        self.keys(key, found)
        return found

    def text(self, table: Mapping[str, Any], where: str, key: str) -> str:
        found = table.get(key)
        if not isinstance(found, str) or not found:
            raise self.wrong(f"{where}.{key} must be a string that is not empty")
        return found

    def texts(
        self, table: Mapping[str, Any], where: str, key: str, *, required: bool = False
    ) -> tuple[str, ...]:
        found = table.get(key, [])
        strings = isinstance(found, list) and all(isinstance(item, str) for item in found)
        if not strings or (required and not found):
            raise self.wrong(f"{where}.{key} must be a list of strings")
        return tuple(found)

    def command(self, pool: Mapping[str, Any], key: str) -> tuple[str, ...]:
        words = self.texts(pool, "pool", key)
        for word in words:
            self.word(word, f"pool.{key}")
        return words

    def environment(self, pool: Mapping[str, Any]) -> dict[str, str]:
        found = pool.get("environment", {})
        if not isinstance(found, dict) or not all(isinstance(item, str) for item in found.values()):
            raise self.wrong("pool.environment must be a table of strings")
        for key, word in found.items():
            self.word(word, f"pool.environment.{key}")
        return found

    def word(self, word: str, where: str) -> None:
        try:
            names = placeholders(word)
        except ValueError as error:
            raise self.wrong(f"{where}: {word!r}: {error}; a brace itself is written twice") from None
        for name in names:
            if name not in PLACEHOLDERS:
                nearest = _nearest(name, PLACEHOLDERS)
                raise self.wrong(f"{where}: unknown placeholder {{{name}}}{nearest}")

    def binaries(self, manifest: Manifest) -> None:
        """The first word of each command must be something that can be run, and is looked for at once."""
        for capacity in (1, 2):
            values = dict.fromkeys(PLACEHOLDERS[2:], "")
            program = manifest.expand(capacity, values)[0][0]
            if shutil.which(program, path=os.environ.get("PATH")) is None:
                raise self.wrong(f"command {program!r} is not there or not executable; install it")


def _nearest(name: str, known: Iterable[str]) -> str:
    known = tuple(known)
    found = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else f"; known are {', '.join(known)}"
