"""What the system says about processes, from the best source that it has: ``/proc``, or else ``ps`` and ``lsof``.

Each question has sources, best first, and is answered by the first that works here. :func:`can` says whether there is
one. A case says what it asks (``@pytest.mark.kernel("switches")``), and is *untestable* where there is no source.
``/proc`` answers nearly everything. Elsewhere ``ps`` tells switches (on BSD only), states and processor time, and
``lsof``, where it is installed, descriptors and sockets. One question is about the user: whether there is ``room`` for
a large pool.

BACKCHANNEL_PROC names another directory to look for ``/proc`` in: one that does not exist hides it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from socket import socket
from types import ModuleType
from typing import Any, Final

from . import limits, lsof, procfs, ps, sockets, strace

__all__ = [
    "QUESTIONS",
    "activity",
    "blocked_signals",
    "can",
    "children",
    "clients",
    "cpu_seconds",
    "established",
    "faulty",
    "identity",
    "is_process",
    "kept_at_exec",
    "kinds",
    "listener_flags",
    "memory",
    "missing",
    "no_descriptors",
    "parent",
    "pending",
    "session_of",
    "shared",
    "sockets_of",
    "state",
    "switches",
    "threads",
    "unread",
]

QUESTIONS: Final[Mapping[str, tuple[ModuleType, ...]]] = {
    "switches": (procfs, ps),
    "state": (procfs, ps),
    "cpu_seconds": (procfs, ps),
    "session_of": (procfs, ps),
    "threads": (procfs,),
    "sockets_of": (procfs,),
    "pending": (sockets,),
    "blocked_signals": (procfs,),
    "established": (procfs, lsof),
    "identity": (procfs,),
    "kinds": (procfs, lsof),
    "shared": (procfs, lsof),
    "listener_flags": (procfs,),
    "kept_at_exec": (procfs,),
    "no_descriptors": (procfs,),
    "memory": (procfs, ps),
    "clients": (procfs,),
    "parent": (procfs, ps),
    "is_process": (procfs, ps),
    "faulty": (strace,),
    "room": (limits,),
    "activity": (procfs,),
    "children": (procfs,),
    "unread": (procfs,),
}


@cache
def _source(question: str) -> ModuleType | None:
    return next((source for source in QUESTIONS[question] if source.can(question)), None)


def can(question: str) -> bool:
    """Whether ``question`` is answered here."""
    return _source(question) is not None


def missing(question: str) -> str:
    """Why it is not."""
    needs = "; ".join(source.NEEDS for source in QUESTIONS[question])
    return needs if question == "room" else f"nobody tells of {question}: {needs}"


def _ask(question: str, *arguments: Any) -> Any:
    source = _source(question)
    if source is None:
        raise LookupError(missing(question))
    return getattr(source, question)(*arguments)


def switches(pid: int) -> int:
    """Voluntary context switches of a live process so far."""
    found: int = _ask("switches", pid)
    return found


def state(pid: int) -> str:
    """``S`` asleep, ``R`` running or about to, ``T`` stopped, ``Z`` dead and not waited for; empty: there is no
    such process.
    """
    found: str = _ask("state", pid)
    return found


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, in whole clock ticks."""
    found: float = _ask("cpu_seconds", pid)
    return found


def session_of(leader: int) -> list[int]:
    """The processes of the session that ``leader`` leads or led, dead ones that nobody waited for included."""
    found: list[int] = _ask("session_of", leader)
    return found


def blocked_signals(pid: int) -> set[int]:
    """The signals that a process has blocked."""
    found: set[int] = _ask("blocked_signals", pid)
    return found


def threads(pid: int) -> int:
    """How many threads a process has."""
    found: int = _ask("threads", pid)
    return found


def sockets_of(pid: int) -> set[int]:
    """The sockets that a process holds, by the numbers that ``fstat`` gives them; none when it has ended."""
    found: set[int] = _ask("sockets_of", pid)
    return found


def pending(listener: socket) -> int:
    """How many connections wait to be accepted."""
    found: int = _ask("pending", listener)
    return found


def established(pids: Iterable[int], port: int) -> dict[int, int]:
    """How many accepted connections of local ``port`` each process holds, by the kernel's own table."""
    found: dict[int, int] = _ask("established", list(pids), port)
    return found


def identity(pid: int) -> tuple[set[int], set[int]]:
    """The users and the groups that a process is or can become: real, effective, saved, supplementary."""
    found: tuple[set[int], set[int]] = _ask("identity", pid)
    return found


def kinds(pid: int) -> dict[str, int]:
    """A process's descriptors above the three standard ones, counted by kind: ``unix``, ``tcp-listen``, ``tcp``,
    ``poller``, or whatever the system calls them.
    """
    found: dict[str, int] = _ask("kinds", pid)
    return found


def shared(pid: int, others: Iterable[int]) -> dict[str, int]:
    """Those of a process's descriptors, counted by kind as in :func:`kinds`, behind which is something that one of
    ``others`` holds as well: the same socket, the same poller.
    """
    found: dict[str, int] = _ask("shared", pid, list(others))
    return found


def listener_flags(pid: int) -> list[int]:
    """The file status flags of each listening TCP socket of a process."""
    found: list[int] = _ask("listener_flags", pid)
    return found


def kept_at_exec(pid: int) -> list[int]:
    """The descriptors of a process, above the three standard ones, that it would pass on to a program."""
    found: list[int] = _ask("kept_at_exec", pid)
    return found


def no_descriptors(pid: int, but: int = 0) -> AbstractContextManager[None]:
    """For a while, the system gives a process no new descriptors ``but`` so many. The process must be the suite's to
    touch.
    """
    found: AbstractContextManager[None] = _ask("no_descriptors", pid, but)
    return _held(pid, found)


def memory(pid: int) -> int:
    """What a process has in memory, in octets."""
    found: int = _ask("memory", pid)
    return found


def clients(pid: int, port: int) -> set[int]:
    """The clients' ports of the accepted connections of local ``port`` that a process holds."""
    found: set[int] = _ask("clients", pid, port)
    return found


def faulty(pid: int, call: str, what: str, when: str) -> AbstractContextManager[None]:
    """For a while, a fault in a process: at those of its calls that ``when`` says (``2``, ``1..3``), ``what`` happens:
    ``signal=KILL`` before the call, ``signal=STOP`` after it, ``error=ENFILE`` instead of it, ``zeros`` for what it
    would have told. ``call`` is ``accept``, ``send``, ``fork``, or ``count``: how many connections are pending.
    """
    found: AbstractContextManager[None] = _ask("faulty", pid, call, what, when)
    return _held(pid, found)


@contextmanager
def _held(pid: int, change: AbstractContextManager[None]) -> Iterator[None]:
    """What changes a process is kept from all but those of the suite."""
    from .. import processes  # which asks this package whose child a process is

    with ExitStack() as changed:
        with processes.held(pid):
            changed.enter_context(change)
        yield


def parent(pid: int) -> int:
    """The parent of a process: who must wait for it when it is dead."""
    found: int = _ask("parent", pid)
    return found


def is_process(pid: int) -> bool:
    """Whether there is a process of this number, and not merely a thread: some systems number both alike."""
    found: bool = _ask("is_process", pid)
    return found


def activity(pid: int) -> tuple[int, ...] | None:
    """How often each thread of a process has been switched, if all are asleep; ``None`` while one of them runs. Two
    equal answers say that the process has slept from the first to the second.
    """
    found: tuple[int, ...] | None = _ask("activity", pid)
    return found


def children(pid: int) -> set[int]:
    """The children of a process, dead ones that it has not waited for included."""
    found: set[int] = _ask("children", pid)
    return found


def unread(descriptor: int) -> int:
    """Whether the other end of a stream has still something to read of what was written to ``descriptor``: above 0."""
    found: int = _ask("unread", descriptor)
    return found
