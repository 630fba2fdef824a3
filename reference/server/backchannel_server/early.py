"""The first thing that a program of this project does, before it imports what takes time.

A signal that comes while Python still loads the server would end it without a word, or, in process 1, be lost. So the
pool's signals are held back from here on; they have their effect when the loop runs (:mod:`.signals`). And the numbers
0, 1 and 2 are taken, so that no listener and no channel gets one of them, and with it what somebody prints.

Nothing is done in a program that only imports the package: only ``python -m`` with one of :data:`PROGRAMS`. It must be
imported before the rest, so it imports next to nothing itself (``typing`` alone would double its time).
"""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["PARENTS", "take_standard_descriptors"]

PROGRAMS = ("backchannel_sync", "backchannel_trio")
"""Packages whose modules are servers and workers."""

PARENTS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What tells a pool to do something. A shell and a terminal send it to the whole process group."""


def take_standard_descriptors() -> None:
    """Open ``/dev/null`` at each of the numbers 0, 1 and 2 that is not open."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            try:
                opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            except OSError:
                return  # without /dev there is nothing to put there
            os.set_inheritable(opened, True)


def _is_program() -> bool:
    """Whether this process is ``python -m`` with one of ours, and is just about to load it."""
    if sys.argv[:1] != ["-m"]:
        return False
    for at, word in enumerate(sys.orig_argv):
        if word.startswith("-m"):
            name = word[2:] or sys.orig_argv[at + 1]
            return name.partition(".")[0] in PROGRAMS
    return False


def hold_signals() -> None:
    """Hold back the pool's signals, those too that whoever starts this has ignored.

    A shell starts what it puts into the background with SIGINT ignored, and ``nohup`` does so with SIGHUP. A signal
    that waits is dropped when anybody ignores it again, as code does that saves a handler and puts it back.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, PARENTS)
    for number in PARENTS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


if _is_program():
    hold_signals()
    take_standard_descriptors()
