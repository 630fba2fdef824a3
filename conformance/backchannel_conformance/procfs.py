"""What Linux tells about processes under /proc: the witness that a pool cannot talk into saying something else.

Everything here works for root and for an ordinary user that looks at its own processes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
ESTABLISHED = 1
CLOSE_WAIT = 8
LISTEN = 10

_INODE = re.compile(r"(socket|pipe):\[(\d+)\]")


def available() -> bool:
    return (PROC / "self" / "status").is_file()


@dataclass(frozen=True)
class Stat:
    state: str
    parent: int
    session: int
    ticks: int


def stat(pid: int) -> Stat | None:
    """The figures of one process; None when there is none."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    ticks = int(fields[11]) + int(fields[12])
    return Stat(state=fields[0], parent=int(fields[1]), session=int(fields[3]), ticks=ticks)


def alive(pid: int) -> bool:
    found = stat(pid)
    return found is not None and found.state not in "ZX"


def state(pid: int) -> str:
    found = stat(pid)
    return found.state if found else "-"


def processes() -> Iterator[int]:
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def session_members(session: int) -> list[int]:
    """The processes of a session that still run; a zombie holds nothing and is somebody else's to reap."""
    found = []
    for pid in processes():
        seen = stat(pid)
        if seen and seen.session == session and seen.state not in "ZX":
            found.append(pid)
    return sorted(found)


def children(pid: int) -> list[int]:
    found = []
    for other in processes():
        seen = stat(other)
        if seen and seen.parent == pid and seen.state not in "ZX":
            found.append(other)
    return sorted(found)


def voluntary_switches(pid: int) -> int:
    """How often the process gave up the processor to wait; ProcessLookupError when it is gone."""
    try:
        text = (PROC / str(pid) / "status").read_text()
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    for line in text.splitlines():
        if line.startswith("voluntary_ctxt_switches:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


def processor_seconds(pid: int) -> float:
    """Processor time so far: to the nanosecond where the kernel says so, else in clock ticks."""
    try:
        return int((PROC / str(pid) / "schedstat").read_text().split()[0]) / 1e9
    except (FileNotFoundError, ProcessLookupError, IndexError):
        found = stat(pid)
        if found is None:
            raise ProcessLookupError(pid) from None
        return found.ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Descriptor:
    number: int
    target: str
    inode: int | None
    flags: int
    watches: frozenset[int]
    """For an epoll set: the inodes of what it watches."""

    @property
    def is_epoll(self) -> bool:
        return self.target == "anon_inode:[eventpoll]"


def descriptors(pid: int) -> list[Descriptor]:
    found = []
    for entry in (PROC / str(pid) / "fd").iterdir():
        try:
            target = os.readlink(entry)
            info = (PROC / str(pid) / "fdinfo" / entry.name).read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        inode = _INODE.fullmatch(target)
        flags = re.search(r"^flags:\s*([0-7]+)", info, re.MULTILINE)
        found.append(
            Descriptor(
                number=int(entry.name),
                target=target,
                inode=int(inode[2]) if inode else None,
                flags=int(flags[1], 8) if flags else 0,
                watches=frozenset(int(item, 16) for item in re.findall(r"ino:([0-9a-f]+)", info)),
            )
        )
    return sorted(found, key=lambda item: item.number)


def inodes(pid: int) -> frozenset[int]:
    """The sockets and pipes that a process holds."""
    return frozenset(item.inode for item in descriptors(pid) if item.inode is not None)


@dataclass(frozen=True)
class TcpSocket:
    inode: int
    port: int
    state: int


def tcp_sockets(port: int) -> list[TcpSocket]:
    """The sockets whose local port is this one; those that nobody has accepted yet have inode 0."""
    found = []
    for name in ("tcp", "tcp6"):
        table = PROC / "net" / name
        if not table.is_file():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port:
                found.append(TcpSocket(int(fields[9]), port, int(fields[3], 16)))
    return found


def unix_inodes() -> frozenset[int]:
    lines = (PROC / "net" / "unix").read_text().splitlines()[1:]
    return frozenset(int(line.split()[6]) for line in lines)


def held_connections(pid: int, port: int) -> int:
    """How many accepted connections of the port this process holds, as the kernel sees it."""
    mine = inodes(pid)
    held = {item.inode for item in tcp_sockets(port) if item.state in (ESTABLISHED, CLOSE_WAIT)}
    return len(mine & held)
