"""Manifests: the one file by which an implementation is made known to the suite (``spec/adapter``).

Whatever is wrong with a manifest is reported in one line, which names the file, the key, and what would be right.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import CONTRACT, SPEC
from .build import build
from .errors import UsageError
from .port_output import printable
from .waiting import scale

__all__ = ["CLASSES", "DEFAULTS", "ROLES", "Manifest", "Role", "find", "load", "unless_set"]

ROLES = ("codec", "worker", "parent", "pool")
"""What an implementation may offer, each in a table of its manifest."""

CLASSES = (
    "minimum",
    "event",
    "counted",
    "listeners",
    "scaling",
    "responsive",
    "exec",
    "reload",
    "replace",
    "privileges",
    "activation",
)

DEFAULTS: Mapping[str, str] = {
    "listen": "127.0.0.1:0",
    "status": "",
    "capacity": "1",
    "start": "2",
    "min": "2",
    "max": "2",
    "min_spare": "0",
    "max_spare": "1000000",
    "pass": "1",
    "policy": "",
    "max_per_order": "1",
    "order_deadline": "10",
    "silence_deadline": "30",
    "drain_deadline": "30",
    "poller": "auto",
    "user": "",
    "worker": "",
    "start_deadline": "30",
    "exit_deadline": "5",
    "stop_deadline": "5",
    "quota": "0",
    "reload": "rolling",
    "gate": "",
}
"""Every placeholder that a case may set, with what it is where the case does not."""


def unless_set() -> dict[str, str]:
    """:data:`DEFAULTS` for this run: deadlines, by which a port judges its own processes, are stretched as the limits
    of the suite are.
    """
    return {
        name: f"{float(value) * scale():g}" if name.endswith("_deadline") else value for name, value in DEFAULTS.items()
    }


_PARENT_ONLY = ("worker", "exit_deadline", "stop_deadline")
OFFERS: Mapping[str, tuple[str, ...]] = {
    "codec": (),
    "worker": ("quota",),
    "parent": tuple(name for name in DEFAULTS if name not in ("quota", "poller", "user")),
    "pool": tuple(name for name in DEFAULTS if name not in ("quota", *_PARENT_ONLY)),
}
"""The placeholders that a role's table may mention, besides those of every role."""

_FIXED = ("python", "here")
_KEYS = {
    "": ("contract", "spec", "implementation", "build", *ROLES, "expect"),
    "implementation": ("name", "language", "classes"),
    "build": ("command", "needs"),
    "codec": ("command", "environment"),
    "worker": ("command", "command_event", "environment"),
    "parent": ("command", "environment"),
    "pool": ("command", "command_event", "environment"),
    "expect": ("must_fail", "show"),
}
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\w*)\}")
_HOME = Path(__file__).parents[1]


@dataclass(frozen=True)
class Role:
    """One role that an implementation offers: what to run for it."""

    name: str
    commands: Mapping[str, tuple[str, ...]]
    """By key: ``command`` always, ``command_event`` where the table has it."""
    environment: Mapping[str, str]
    placeholders: frozenset[str]
    """Those that its strings mention."""

    def command(self, key: str = "command") -> tuple[str, ...]:
        """The command under ``key``, or else the ordinary one."""
        return self.commands.get(key, self.commands["command"])


@dataclass(frozen=True)
class Manifest:
    """An implementation, or a control."""

    path: Path
    name: str
    language: str
    classes: frozenset[str]
    roles: Mapping[str, Role]
    must_fail: frozenset[str] = frozenset()
    show: frozenset[str] = frozenset()

    @property
    def is_control(self) -> bool:
        """Whether it says what must fail or is shown only."""
        return bool(self.must_fail or self.show)

    def fill(self, text: str, values: Mapping[str, str]) -> str:
        """``text`` with its placeholders replaced."""
        known = {"python": sys.executable, "here": str(self.path.parent), **values}
        return _PLACEHOLDER.sub(lambda match: known[match[1]] if match[1] else match[0][0], text)


def find(name: str) -> Manifest:
    """The manifest that comes with the suite under ``name``."""
    for folder in ("manifests", "controls"):
        path = _HOME / folder / f"{name}.toml"
        if path.exists():
            return load(path)
    raise UsageError(
        f"--impl {name}: no such implementation{_nearest(name, names('manifests'))}; or give --manifest FILE"
    )


def names(folder: str) -> list[str]:
    """The manifests that come with the suite in ``folder``."""
    return sorted(path.stem for path in (_HOME / folder).glob("*.toml"))


def load(path: Path, *, built: bool = False) -> Manifest:
    """Read and check a manifest; build what it asks for, unless that is ``built``. Raises :class:`UsageError`."""
    path = path.resolve()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"manifest {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"manifest {path} is not TOML: {error}") from None
    _check_keys(path, data)
    for key, version, verb in (("contract", CONTRACT, "speaks"), ("spec", SPEC, "tests")):
        if key not in data:
            raise UsageError(f'manifest {path}: {key} is missing; this suite {verb} {key} = "{version}"')
        if data[key] != version:
            raise UsageError(f"manifest {path}: {key} is {data[key]!r}; this suite {verb} {version!r}")
    about, expect = (data.get(part, {}) for part in ("implementation", "expect"))
    name = _need(path, about, "implementation", "name", str)
    if not re.fullmatch(r"[A-Za-z0-9+_-]+", name):
        raise UsageError(f"manifest {path}: name {name!r} may hold letters, digits, '-', '_' and '+' only")
    classes = _strings(path, "implementation.classes", about.get("classes", ["minimum"]))
    for item in classes:
        if item not in CLASSES:
            raise UsageError(f"manifest {path}: no class {item!r}{_nearest(item, CLASSES)}")
    roles = {role: _role(path, role, data[role]) for role in ROLES if role in data}
    if not roles:
        raise UsageError(f"manifest {path} offers no role: write [codec], [worker], [parent] or [pool], with a command")
    manifest = Manifest(
        path,
        name,
        printable(_need(path, about, "implementation", "language", str), 100),
        frozenset(classes),
        roles,
        frozenset(map(printable, _strings(path, "expect.must_fail", expect.get("must_fail", [])))),
        frozenset(map(printable, _strings(path, "expect.show", expect.get("show", [])))),
    )
    if "build" in data and not built:
        _build(manifest, data["build"])
    for role in roles.values():
        for key, command in role.commands.items():
            program = manifest.fill(command[0], DEFAULTS)
            if shutil.which(program) is None:
                raise UsageError(f"manifest {path}: {role.name}.{key}: {_unusable(program)}")
    return manifest


def _unusable(program: str) -> str:
    try:
        os.stat(program)
    except PermissionError:
        return f"{program!r} is where this user may not look; put it elsewhere, or open its directories (chmod +x)"
    except (OSError, ValueError):
        pass
    if os.path.isdir(program):
        return f"{program!r} is a directory; name the program in it"
    if os.sep in program and os.path.exists(program):
        return f"{program!r} may not be executed; chmod +x it, or name its interpreter first"
    return f"there is no program {program!r}; build or install it, or fix the command"


def _build(manifest: Manifest, table: Mapping[str, Any]) -> None:
    path = manifest.path
    command = _strings(path, "build.command", _need(path, table, "build", "command", list))
    if not command:
        raise UsageError(f"manifest {path}: build.command is empty; write the program and its arguments")
    for text in command:
        for match in _PLACEHOLDER.finditer(text):
            if match[1] is not None and match[1] not in _FIXED:
                raise UsageError(
                    f"manifest {path}: no placeholder {{{match[1]}}} in build.command{_nearest(match[1], _FIXED)}"
                )
    build(path, [manifest.fill(word, {}) for word in command], _strings(path, "build.needs", table.get("needs", [])))


def _role(path: Path, name: str, table: Mapping[str, Any]) -> Role:
    _need(path, table, name, "command", list)
    commands = {
        key: _strings(path, f"{name}.{key}", table[key]) for key in _KEYS[name] if key in table and key != "environment"
    }
    environment = table.get("environment", {})
    if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
        raise UsageError(f"manifest {path}: {name}.environment must be a table of strings")
    for key, command in commands.items():
        if not command:
            raise UsageError(f"manifest {path}: {name}.{key} is empty; write the program and its arguments")
    used = _placeholders(
        path, name, (*(word for command in commands.values() for word in command), *environment.values())
    )
    if name == "parent" and "worker" not in used:
        raise UsageError(
            f"manifest {path}: parent.command does not mention {{worker}}, the command that starts a worker"
        )
    return Role(name, commands, environment, used)


def _check_keys(path: Path, data: Mapping[str, Any]) -> None:
    for part, known in _KEYS.items():
        table = data if not part else data.get(part, {})
        if not isinstance(table, dict):
            raise UsageError(f"manifest {path}: {part} is not a table; write [{part}]")
        for key in table:
            if key not in known:
                full = f"{part}.{key}" if part else key
                raise UsageError(f"manifest {path}: no key {full!r} in the contract{_nearest(key, known)}")


def _need(path: Path, table: Mapping[str, Any], part: str, key: str, kind: type) -> Any:
    value = table.get(key)
    if not isinstance(value, kind):
        what = "is missing" if value is None else f"must be a {kind.__name__}"
        raise UsageError(f"manifest {path}: {part}.{key} {what}")
    return value


def _strings(path: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"manifest {path}: {key} must be a list of strings")
    return tuple(value)


def _placeholders(path: Path, role: str, texts: Iterable[str]) -> frozenset[str]:
    known = (*OFFERS[role], *_FIXED)
    used = {match[1] for text in texts for match in _PLACEHOLDER.finditer(text) if match[1] is not None}
    for name in used:
        if name not in known:
            if not name:
                raise UsageError(f"manifest {path}: {role} has {{}}; write {{{{}}}} for the two braces themselves")
            where = f"in role {role}" if name in DEFAULTS else "in the contract"
            raise UsageError(f"manifest {path}: no placeholder {{{name}}} {where}{_nearest(name, known)}")
    return frozenset(used)


def _nearest(word: str, known: Iterable[str]) -> str:
    # below this, what is nearest has nothing to do with it: 'rest' would have been meant for 'parent'
    close = difflib.get_close_matches(word, list(known), 1, cutoff=0.7)
    return f"; did you mean {close[0]!r}?" if close else f" (there are: {', '.join(known)})"
