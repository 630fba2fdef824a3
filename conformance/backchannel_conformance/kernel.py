"""What Linux says about processes: switches, state, descriptors, sockets, processor time.

All of it is read from ``/proc``. :data:`AVAILABLE` says whether there is any; cases that need it are *untestable*
elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "AVAILABLE",
    "cpu_seconds",
    "descriptors",
    "established",
    "session_of",
    "state",
    "switches",
]

AVAILABLE = Path("/proc/self/status").exists()

_TICKS = os.sysconf("SC_CLK_TCK")


def switches(pid: int) -> int:
    """Voluntary context switches of a live process so far."""
    match = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match
    return int(match[1])


def _stat(pid: int) -> list[str]:
    # the name may hold anything, so cut behind its last bracket
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def state(pid: int) -> str:
    """``S`` asleep, ``R`` running or about to, ``T`` stopped, ``Z`` dead and not waited for; empty: there is no
    such process.
    """
    try:
        return _stat(pid)[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, in whole clock ticks."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def session_of(leader: int) -> list[int]:
    """The processes of the session that ``leader`` leads or led, dead ones that nobody waited for included."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                if int(_stat(int(name))[3]) == leader:
                    found.append(int(name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def threads(pid: int) -> list[str]:
    """The threads of a process."""
    return os.listdir(f"/proc/{pid}/task")


def descriptors(pid: int) -> dict[int, str]:
    """The open descriptors of a process, and what the kernel calls each: ``socket:[4711]``, ``/dev/null`` …"""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
    return found


def _tcp_table() -> Iterable[list[str]]:
    for name in ("tcp", "tcp6"):
        path = Path(f"/proc/net/{name}")
        if path.exists():
            yield from (line.split() for line in path.read_text().splitlines()[1:])


def sockets_of(pid: int) -> set[str]:
    """The inode numbers of a process's sockets."""
    return {link[8:-1] for link in descriptors(pid).values() if link.startswith("socket:")}


def established(pids: Iterable[int], port: int) -> dict[int, int]:
    """How many accepted connections of local ``port`` each process holds, by the kernel's own table."""
    inodes = {
        row[9]
        for row in _tcp_table()
        if int(row[1].rpartition(":")[2], 16) == port
        and row[3] in ("01", "08")  # established, or the client has closed
    }
    return {pid: len(sockets_of(pid) & inodes) for pid in pids}


def kinds(pid: int) -> dict[str, int]:
    """A worker's descriptors above the three standard ones, counted by kind: ``unix``, ``tcp-listen``, ``tcp``, or
    the link.
    """
    unix = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    listening: set[str] = set()
    tcp: set[str] = set()
    for row in _tcp_table():
        (listening if row[3] == "0A" else tcp).add(row[9])
    counts: dict[str, int] = {}
    for number, link in descriptors(pid).items():
        if number <= 2:
            continue
        inode = link[8:-1] if link.startswith("socket:") else ""
        kind = "unix" if inode in unix else "tcp-listen" if inode in listening else "tcp" if inode in tcp else link
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def is_listener(pid: int, number: int) -> bool:
    """Whether a descriptor is a listening TCP socket."""
    listening = {row[9] for row in _tcp_table() if row[3] == "0A"}
    return descriptors(pid).get(number, "")[8:-1] in listening


def flags(pid: int, number: int) -> int:
    """The file status flags of a descriptor."""
    match = re.search(r"^flags:\s*(\d+)", Path(f"/proc/{pid}/fdinfo/{number}").read_text(), re.MULTILINE)
    assert match
    return int(match[1], 8)
