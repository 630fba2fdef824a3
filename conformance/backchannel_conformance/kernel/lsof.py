"""Descriptors and sockets by ``lsof``, which exists for every system; its field output (``-F``) is meant for programs.

One line a field: ``p`` process, ``f`` descriptor, ``t`` type, ``d`` device (of a socket: its address
in the kernel), ``n`` name, ``T`` with ``ST=`` the TCP state.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

NEEDS: Final = "lsof is not installed"

_POLLER: Final = re.compile(r"eventpoll|kqueue|count=\d+, state=", re.IGNORECASE)
_HELD: Final = ("ESTABLISHED", "CLOSE_WAIT")


@dataclass
class _File:
    pid: int
    number: int
    type: str = ""
    device: str = ""
    name: str = ""
    state: str = ""


def can(_question: str) -> bool:
    """Whether it is there."""
    return shutil.which("lsof") is not None


def _files(pids: Iterable[int]) -> list[_File]:
    """Of all of ``pids`` at once: most of what ``lsof`` takes it takes to begin."""
    command = ["lsof", "-n", "-P", "-a", "-p", ",".join(map(str, pids)), "-F", "pftdnT"]
    return list(parse(subprocess.run(command, capture_output=True, text=True, check=False).stdout))


def parse(output: str) -> Iterator[_File]:
    """The numbered descriptors in ``output``, those above the three standard ones."""
    pid = 0
    file: _File | None = None
    for line in output.splitlines():
        key, value = line[:1], line[1:]
        if key in "pf":
            if file is not None:
                yield file
            if key == "p":
                pid = int(value)
            number = int(value) if key == "f" and value.isdecimal() else 0
            file = _File(pid, number) if number > 2 else None
        elif file is not None:
            if key == "t":
                file.type = value
            elif key == "d":
                file.device = value
            elif key == "n":
                file.name = value
            elif key == "T" and value.startswith("ST="):
                file.state = value[3:]
    if file is not None:
        yield file


def established(pids: Iterable[int], port: int) -> dict[int, int]:
    pids = list(pids)
    held = Counter(
        file.pid for file in _files(pids) if file.state in _HELD and file.name.partition("->")[0].endswith(f":{port}")
    )
    return {pid: held[pid] for pid in pids}


def kinds(pid: int) -> dict[str, int]:
    return dict(Counter(map(_kind, _files([pid]))))


def shared(pid: int, others: Iterable[int]) -> dict[str, int]:
    theirs = {file.device for file in _files(others) if file.device.startswith("0x")}
    return dict(Counter(_kind(file) for file in _files([pid]) if file.device in theirs))


def _kind(file: _File) -> str:
    if file.type == "unix":
        return "unix"
    if file.type in ("IPv4", "IPv6"):
        return "tcp-listen" if file.state == "LISTEN" else "tcp"
    if file.type.upper() == "KQUEUE" or _POLLER.search(file.name):
        return "poller"
    return file.name or file.type
