"""A process as one thing, whatever its number is used for later, on systems that have such a thing."""

from __future__ import annotations

import os
import signal

__all__ = ["hold", "peek", "send"]


def hold(pid: int) -> int | None:
    """A descriptor that stands for the process which has this number now, and for no later one; the caller closes it.

    ``None`` where there is none to be had: no such system, no such process, a thread's number, a sandbox.
    """
    opened = getattr(os, "pidfd_open", None)
    if opened is None or pid <= 1:
        return None
    try:
        found: int = opened(pid)
    except OSError:
        return None
    return found


def send(handle: int | None, pid: int, number: int) -> None:
    """Send a signal to a process by its descriptor, or by its number where it has none."""
    if handle is None:
        os.kill(pid, number)
    else:
        signal.pidfd_send_signal(handle, number)  # type: ignore[attr-defined,unused-ignore]


def peek(pid: int) -> tuple[int | None, bool]:
    """The exit status of a child, ``None`` while it runs; and whether it has been waited for.

    It has not where the system lets one look first: then its number stays its own.
    """
    if hasattr(os, "waitid"):
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None, False
        return (found.si_status if found.si_code == os.CLD_EXITED else -found.si_status), False
    done, status = os.waitpid(pid, os.WNOHANG)
    return (os.waitstatus_to_exitcode(status), True) if done else (None, False)
