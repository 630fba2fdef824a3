"""Forking a worker, and what a fresh worker must undo before it is one.

A child begins as a copy of its parent, with the parent's descriptors, pollers and signal set-up. What is left open by
mistake hurts later and elsewhere: a sibling's channel end keeps that sibling from seeing that the parent has died
(BC-FORK-02); the parent's epoll set, changed here, is changed there (BC-FORK-03); its wake-up descriptor tells the
parent of our signals (BC-FORK-04). So signals are blocked across the fork, and :func:`fork_worker` undoes it all
before a signal can arrive.
"""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence

from backchannel.printing import one_line

from . import standard
from .leaving import forget_the_parents, leave
from .signals import PARENTS, leave_to_the_parent

__all__ = ["Reasons", "dead_children", "fork_worker"]

HANDLED = (*PARENTS, signal.SIGCHLD)

WAITED_FOR_BY_ANOTHER = 255
"""What stands for the exit status of a worker that code around the pool has waited for."""

SAID_AT_MOST = 100
"""So many reasons are remembered: one that differs each time, by a number in it, may not fill the memory."""


class Reasons:
    """Why workers could not start: a pipe on which each says so, so that the parent can say it once."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        self.generation = 0
        """Of the workers that are being started: what was true of an earlier one is worth saying again."""
        self._said: set[str] = set()

    def give(self, text: str) -> None:
        """In a worker: leave ``text`` for the parent. What is longer than a pipe writes whole is cut; where very many
        have left theirs already, one more says nothing new.
        """
        with contextlib.suppress(OSError):
            os.write(self._writer, f"{self.generation} {text}".encode(errors="replace")[:500] + b"\0")

    def take(self) -> list[str]:
        """In the parent: what workers have left, each text once for each generation."""
        try:
            texts = os.read(self._reader, 1 << 16).decode(errors="replace").split("\0")
        except BlockingIOError:
            return []
        new = [text for text in dict.fromkeys(texts) if text and text not in self._said]
        if len(self._said) > SAID_AT_MOST:
            self._said.clear()
        self._said.update(new)
        return [one_line(text.partition(" ")[2]) for text in new]

    def close(self) -> None:
        """Close both ends."""
        os.close(self._reader)
        os.close(self._writer)


def fork_worker(child: Callable[[], int]) -> int:
    """Fork; run ``child`` in the new process and exit with what it returns. Returns the new process id.

    Raises ``OSError`` when the system has no process to give.
    """
    standard.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        pid = os.fork()
        if pid:
            return pid
        status = 70
        try:
            _undo_signals()
            forget_the_parents()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            status = child()
        except BaseException:
            # nothing of the parent's stack may run in the child: no finally of its
            standard.say(traceback.format_exc())
        finally:
            leave(status)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def dead_children(own: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Wait for those of ``own`` that have exited: (process id, exit status, negative for a signal).

    Process 1 is given everybody's orphans: there, whoever is dead is waited for, lest strangers stay zombies for ever.
    Elsewhere other children are none of our business: whoever started them waits for them. One of ``own`` that somebody
    else has waited for is gone as well; how it ended is not known, and 255 is said, as asyncio does.
    """
    if os.getpid() == 1:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                yield pid, os.waitstatus_to_exitcode(status)
    else:
        for pid in own:
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                yield pid, WAITED_FOR_BY_ANOTHER
                continue
            if found:
                yield pid, os.waitstatus_to_exitcode(status)


def _undo_signals() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    leave_to_the_parent()
