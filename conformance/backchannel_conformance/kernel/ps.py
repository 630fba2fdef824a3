"""Any POSIX system: what ``ps`` prints. Voluntary switches (``nvcsw``) it prints on BSD only.

Some systems sample one process a call only, so each call asks about one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Final

NEEDS: Final = "ps does not print it"

_COLUMNS: Final = {
    "switches": "nvcsw",
    "state": "state",
    "cpu_seconds": "time",
    "session_of": "pgid",
    "memory": "rss",
    "parent": "ppid",
    "is_process": "pid",
}
_TIME: Final = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+\.\d+)")


def can(question: str) -> bool:
    """Whether ``ps`` knows the column, and fills it."""
    if shutil.which("ps") is None:
        return False
    said = _column(_COLUMNS[question], os.getpid())
    match question:
        case "switches" | "session_of" | "memory" | "parent" | "is_process":
            return said.isdecimal()
        case "cpu_seconds":
            return _TIME.fullmatch(said) is not None  # whole seconds, as Linux prints, are too coarse
        case _:
            return bool(said)


def _column(name: str, pid: int) -> str:
    done = subprocess.run(["ps", "-o", f"{name}=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def switches(pid: int) -> int:
    return int(_column("nvcsw", pid))


def state(pid: int) -> str:
    # I: asleep for long (BSD); D, U: asleep and not to be disturbed; further letters are flags
    letter = _column("state", pid)[:1]
    return {"I": "S", "U": "D"}.get(letter, letter)


def parent(pid: int) -> int:
    return int(_column("ppid", pid))


def is_process(pid: int) -> bool:
    return _column("pid", pid) == str(pid)


def cpu_seconds(pid: int) -> float:
    match = _TIME.fullmatch(_column("time", pid))
    if match is None:
        raise ProcessLookupError(f"ps says nothing of process {pid}")
    days, hours, minutes, seconds = match.groups("0")
    return ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)


def session_of(leader: int) -> list[int]:
    # a pool under test leads a session and a process group of one number, and its processes leave neither
    done = subprocess.run(["ps", "-A", "-o", "pid=", "-o", "pgid="], capture_output=True, text=True, check=True)
    rows = (line.split() for line in done.stdout.splitlines())
    return [int(pid) for pid, group in rows if int(group) == leader]


def memory(pid: int) -> int:
    return int(_column("rss", pid)) * 1024
