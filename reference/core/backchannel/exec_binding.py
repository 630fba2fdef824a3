"""The exec binding's variables: what a worker that is a program of its own finds in its environment (BC-EXEC-02).

:func:`variables` makes them up and :func:`read_variables` understands them; nothing in here looks at an environment,
a descriptor or a process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from .errors import SettingError

__all__ = ["CHANNEL_FD", "PREFIX", "ExecStart", "read_variables", "variables"]

PREFIX: Final = "BACKCHANNEL_"
"""No variable of this prefix is inherited from the parent's own environment (BC-EXEC-17)."""
CHANNEL_FD: Final = 3
"""The channel's descriptor; the listeners follow it (BC-EXEC-01, BC-EXEC-07)."""

_DECIMAL: Final = re.compile(r"[0-9]{1,10}")
_SECONDS: Final = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")
_VERSIONS: Final = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}(-[0-9]{1,2}\.[0-9]{1,2})?")


class ExecStart(NamedTuple):
    """What a worker is told at its start. ``drain_deadline`` is in seconds, ``listeners`` a count."""

    slot: int
    capacity: int
    listeners: int
    drain_deadline: float
    versions: str = "1.0"


def variables(start: ExecStart) -> dict[str, str]:
    """The five variables, with their names."""
    return {
        f"{PREFIX}SLOT": str(start.slot),
        f"{PREFIX}CAPACITY": str(start.capacity),
        f"{PREFIX}LISTENERS": str(start.listeners),
        f"{PREFIX}DRAIN_DEADLINE": f"{start.drain_deadline:.6f}".rstrip("0").rstrip("."),
        f"{PREFIX}VERSIONS": start.versions,
    }


def read_variables(environment: Mapping[str, str]) -> ExecStart:
    """What the variables say. Raises :class:`SettingError`, which names the first that is missing or senseless."""

    def find(name: str, form: re.Pattern[str], example: str) -> str:
        value = environment.get(PREFIX + name)
        if value is None:
            raise SettingError(f"{PREFIX}{name} is missing: a worker is started by its parent, which sets it")
        if not form.fullmatch(value):
            raise SettingError(f"{PREFIX}{name} is {value!r}: it must look like {example}")
        return value

    slot = int(find("SLOT", _DECIMAL, "0"))
    capacity = int(find("CAPACITY", _DECIMAL, "1"))
    listeners = int(find("LISTENERS", _DECIMAL, "1"))
    drain_deadline = float(find("DRAIN_DEADLINE", _SECONDS, "30 or 0.5"))
    versions = find("VERSIONS", _VERSIONS, "1.0 or 1.0-1.3")
    ends = [_octet(version) for version in versions.split("-")]
    if not all(ends) or ends != sorted(ends):
        raise SettingError(f"{PREFIX}VERSIONS is {versions!r}: it is one version, or the lowest and then the highest")
    for name, value in (("CAPACITY", capacity), ("LISTENERS", listeners)):
        if not value:
            raise SettingError(f"{PREFIX}{name} is 0: it must be at least 1")
    return ExecStart(slot, capacity, listeners, drain_deadline, versions)


def _octet(version: str) -> int:
    """``1.0`` as its octet, 16; 0 for what is no version."""
    major, minor = map(int, version.split("."))
    return major << 4 | minor if 1 <= major <= 15 and minor <= 15 else 0
