"""Linux: everything from ``/proc``."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import re
import resource
import termios
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from . import tcp_table

PROC: Final = Path(os.environ.get("BACKCHANNEL_PROC", "/proc"))
NEEDS: Final = f"no {PROC} as on Linux"

_GONE = (FileNotFoundError, ProcessLookupError)
_SLEEPS: Final = b"\nState:\tS"
_SWITCHES: Final = re.compile(rb"ctxt_switches:\s*(\d+)")


def can(question: str) -> bool:
    """All or nothing, but for what a kernel may be built without."""
    if question == "children":
        return (PROC / f"self/task/{os.getpid()}/children").exists()
    return (PROC / "self" / "status").exists() and (PROC / "self" / "fdinfo").exists()


def switches(pid: int) -> int:
    match = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", (PROC / f"{pid}/status").read_text(), re.MULTILINE)
    assert match
    return int(match[1])


def identity(pid: int) -> tuple[set[int], set[int]]:
    lines = dict(line.split(":", 1) for line in (PROC / f"{pid}/status").read_text().splitlines() if ":" in line)
    users, groups, more = ({int(word) for word in lines[name].split()} for name in ("Uid", "Gid", "Groups"))
    return users, groups | more


def _stat(pid: int) -> list[str]:
    # the name may hold anything, so cut behind its last bracket
    return (PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()


def state(pid: int) -> str:
    try:
        return _stat(pid)[0]
    except _GONE:
        return ""


def parent(pid: int) -> int:
    return int(_stat(pid)[1])


def is_process(pid: int) -> bool:
    # /proc/N is there for a thread's number as well, though nothing lists it
    try:
        match = re.search(r"^Tgid:\s*(\d+)", (PROC / f"{pid}/status").read_text(), re.MULTILINE)
    except _GONE:
        return False
    return match is not None and int(match[1]) == pid


def cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def session_of(leader: int) -> list[int]:
    found = []
    for name in os.listdir(PROC):
        if name.isdecimal():
            try:
                if int(_stat(int(name))[3]) == leader:
                    found.append(int(name))
            except _GONE:
                continue
    return found


def blocked_signals(pid: int) -> set[int]:
    match = re.search(r"^SigBlk:\s*([0-9a-f]+)", (PROC / f"{pid}/status").read_text(), re.MULTILINE)
    assert match
    mask = int(match[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def activity(pid: int) -> tuple[int, ...] | None:
    found = []
    tasks = f"{PROC}/{pid}/task"
    try:
        for name in os.listdir(tasks):
            text = _text(f"{tasks}/{name}/status")
            if _SLEEPS not in text:
                return None
            found += [int(count) for count in _SWITCHES.findall(text)]
    except _GONE:
        return None
    return tuple(found)


def _text(path: str) -> bytes:
    """What a file holds. It is asked for thousands of times, and any other way costs several times as much."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    text = b""
    try:
        while more := os.read(descriptor, 1 << 16):  # a page at a time, whatever one asks for
            text += more
        return text
    finally:
        os.close(descriptor)


def children(pid: int) -> set[int]:
    found: set[int] = set()
    tasks = f"{PROC}/{pid}/task"
    for name in os.listdir(tasks):
        with contextlib.suppress(*_GONE):
            found.update(map(int, _text(f"{tasks}/{name}/children").split()))
    return found


def unread(descriptor: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.TIOCOUTQ, count)
    return count[0]


def threads(pid: int) -> int:
    return len(os.listdir(PROC / f"{pid}/task"))


def sockets_of(pid: int) -> set[int]:
    try:
        return {_inode(link) for link in _descriptors(pid).values()} - {0}
    except _GONE:
        return set()


def _descriptors(pid: int) -> dict[int, str]:
    """The open descriptors, and what the kernel calls each: ``socket:[4711]``, ``/dev/null`` …"""
    found = {}
    for name in os.listdir(PROC / f"{pid}/fd"):
        try:
            found[int(name)] = os.readlink(PROC / f"{pid}/fd/{name}")
        except FileNotFoundError:
            continue
    return found


def _inode(link: str) -> int:
    return int(link[8:-1]) if link.startswith("socket:") else 0


def _tcp_table() -> list[tcp_table.Row]:
    return tcp_table.rows(PROC)


def established(pids: Iterable[int], port: int) -> dict[int, int]:
    inodes = {row.inode for row in _tcp_table() if row.port == port and row.state in tcp_table.OPEN} - {0}
    return {pid: len({_inode(link) for link in _descriptors(pid).values()} & inodes) for pid in pids}


def kinds(pid: int) -> dict[str, int]:
    return dict(Counter(kind for kind, _ in _things(pid)))


def shared(pid: int, others: Iterable[int]) -> dict[str, int]:
    theirs = {thing for other in others for _, thing in _things(other)} - {""}
    return dict(Counter(kind for kind, thing in _things(pid) if thing in theirs))


def _things(pid: int) -> list[tuple[str, str]]:
    """What is behind each descriptor above the three standard ones: its kind, and what it is, if that can be told.

    All epoll sets have one inode, so one is told by what it watches: the same set watches the same descriptors.
    """
    unix = {int(line.split()[6]) for line in (PROC / "net/unix").read_text().splitlines()[1:]}
    listening: set[int] = set()
    tcp: set[int] = set()
    for row in _tcp_table():
        (listening if row.state == tcp_table.LISTEN else tcp).add(row.inode)
    found = []
    for number, link in _descriptors(pid).items():
        if number <= 2:
            continue
        if link == "anon_inode:[eventpoll]":
            info = _fdinfo(pid, number)
            if info is not None:
                watched = re.findall(r"^tfd:.* ino:(\w+)", info, re.MULTILINE)
                found.append(("poller", " ".join(sorted(watched))))
            continue
        inode = _inode(link)
        kind = link
        if inode:
            kind = "unix" if inode in unix else "tcp-listen" if inode in listening else "tcp" if inode in tcp else link
        found.append((kind, "" if link.startswith(("/", "anon_inode:")) else link))
    return found


def _fdinfo(pid: int, number: int) -> str | None:
    """What the kernel tells of a descriptor; ``None`` for one that was closed since it was listed."""
    try:
        return _text(f"{PROC}/{pid}/fdinfo/{number}").decode()
    except FileNotFoundError:
        return None


def _flags(pid: int, numbers: Iterable[int]) -> dict[int, int]:
    """The flags of those of these descriptors that are still open."""
    found = {}
    for number in numbers:
        info = _fdinfo(pid, number)
        if info is not None:
            match = re.search(r"^flags:\s*(\d+)", info, re.MULTILINE)
            assert match
            found[number] = int(match[1], 8)
    return found


def listener_flags(pid: int) -> list[int]:
    listening = {row.inode for row in _tcp_table() if row.state == tcp_table.LISTEN}
    listeners = [number for number, link in _descriptors(pid).items() if _inode(link) in listening]
    return list(_flags(pid, listeners).values())


def kept_at_exec(pid: int) -> list[int]:
    flags = _flags(pid, _descriptors(pid))
    return sorted(number for number, flag in flags.items() if number > 2 and not flag & os.O_CLOEXEC)


@contextlib.contextmanager
def no_descriptors(pid: int, but: int = 0) -> Iterator[None]:
    used = _descriptors(pid)
    free = [number for number in range(len(used) + but + 1) if number not in used][but]
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)  # type: ignore[attr-defined,unused-ignore]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, before[1]))  # type: ignore[attr-defined,unused-ignore]
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)  # type: ignore[attr-defined,unused-ignore]


def memory(pid: int) -> int:
    return int((PROC / f"{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def clients(pid: int, port: int) -> set[int]:
    held = {_inode(link) for link in _descriptors(pid).values()} - {0}
    return {
        row.peer for row in _tcp_table() if row.inode in held and row.state != tcp_table.LISTEN and row.port == port
    }
