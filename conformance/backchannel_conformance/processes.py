"""Which processes the suite may signal and trace: those that it has started, and their descendants.

A port names processes, in its status document and in the answers of its service. These are claims. The suite stops and
kills processes, perhaps as root, so each claim is checked before anything is done. The suite notes the leader of each
session and process group that it starts. A process belongs to one by its session or group, which both outlive the
leader, or by its parents.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from . import kernel
from .errors import ContractError
from .kernel import handles
from .port_output import printable

__all__ = ["Ended", "alive", "claimed", "end", "ended", "forget", "held", "note", "send", "start"]

LARGEST = 2**31 - 1
"""Of any system's ``pid_t``."""
RIGHT = "name the process itself, by the number that getpid() returns in it"
_leaders: set[int] = set()
_seen: set[int] = set()
"""Numbers that are processes and not threads."""


class Ended(ContractError, ProcessLookupError):
    """The process has ended."""


def note(leader: int) -> None:
    """The suite has started ``leader``, in a session or a process group of its own."""
    _leaders.add(leader)


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a port's ``command``, as the leader of a session, with ``environment`` added to this process's own. What it
    writes to standard error goes to ``log``, and so does its output, unless ``stdout`` says otherwise.
    """
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            pass_fds=pass_fds,
            stdin=stdin,
            stdout=stream if stdout is None else stdout,
            stderr=stream,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    note(process.pid)
    return process


def forget(leader: int) -> None:
    """It has been waited for, and nothing of it is left: its number may become another process's."""
    _leaders.discard(leader)
    _seen.clear()


def claimed(value: object, what: str) -> int:
    """The process id that a port has given for ``what`` (a phrase for the message).

    A process that has ended is let through, as it may have ended since the port named it. Raises
    :class:`ContractError` for anything else that is not the suite's to touch.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 < value <= LARGEST:
        raise ContractError(f"{what} is process {printable(repr(value), 60)}, which is not a process id: {RIGHT}")
    # asked again after the look-up: a process that ends meanwhile no longer belongs to anything
    if not (ended(value) or _belongs(value) or ended(value)):
        raise ContractError(f"{what} is process {value}, which {_who(value)}: {RIGHT}")
    return value


def ended(pid: int) -> bool:
    """Whether there is no such process any more, not even a dead one that nobody has waited for."""
    try:
        os.getpgid(pid)
    except ProcessLookupError:
        return not kernel.can("state") or not kernel.state(pid)
    except PermissionError:
        return False
    return False


def send(pid: int, number: int) -> None:
    """Send a signal to a process that is the suite's to touch. Raises :class:`ContractError`; :class:`Ended`."""
    with held(pid) as handle:
        handles.send(handle, pid, number)


@contextlib.contextmanager
def held(pid: int) -> Iterator[int | None]:
    """While this context lasts, a descriptor that stands for this process and no later one of its number, on systems
    that have such a thing. Raises :class:`ContractError` for a process that is not the suite's to touch.
    """
    handle = handles.hold(pid) if isinstance(pid, int) else None
    try:
        # looked up behind the descriptor: what is found now is what the descriptor stands for, or that has ended
        claimed(pid, "what is to be signalled or traced")
        if ended(pid):
            raise Ended(f"process {pid}, which the port has named, has ended")
        try:
            yield handle
        except ProcessLookupError as error:
            raise Ended(f"process {pid}, which the port has named, has ended") from error
    finally:
        if handle is not None:
            os.close(handle)


def alive(leader: int) -> list[int]:
    """Processes of a session that run. Orphans that are dead wait for init, and that is not the port's fault."""
    return [pid for pid in kernel.session_of(leader) if kernel.state(pid) not in ("", "Z")]


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the session that ``process`` leads, and wait for it."""
    if process.returncode is None:
        # it has not been waited for, so the number is its own
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    elif kernel.can("session_of") and kernel.can("state"):
        for pid in alive(process.pid):
            with contextlib.suppress(ContractError, PermissionError):
                send(pid, signal.SIGKILL)
    forget(process.pid)


def _belongs(pid: int) -> bool:
    """Whether a live process is the suite's to touch."""
    return pid not in (os.getpid(), os.getppid()) and _is_related(pid) and not _is_thread(pid)


def _is_thread(pid: int) -> bool:
    """Some systems number threads and processes alike, and let either be asked for. One look-up for each number: every
    answer of a service is looked up.
    """
    if pid in _leaders or pid in _seen or not kernel.can("is_process"):
        return False
    if kernel.is_process(pid):
        _seen.add(pid)
        return False
    return not ended(pid)


def _is_related(pid: int) -> bool:
    """Whether it is one of ours, or descends from one."""
    for ask in (os.getsid, os.getpgid):
        with contextlib.suppress(OSError):
            if ask(pid) in _leaders:
                return True
    for _ in range(64):  # one that has left both is known by its parents
        if pid in _leaders:
            return True
        if pid <= 1 or not kernel.can("parent"):
            return False
        try:
            pid = kernel.parent(pid)
        except (OSError, ValueError):
            return False
    return False


def _who(pid: int) -> str:
    if pid == os.getpid():
        return "is the suite itself"
    if pid == os.getppid():
        return "has started the suite"
    if _is_thread(pid):
        return "is a thread"
    return "the port has not started"
