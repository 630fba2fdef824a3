"""The end of a worker: what is registered to be done at the exit of a Python program is done when a worker has drained.

A program that was started for the worker ends as any Python program does: threads are waited for, then exit functions
run, and :mod:`multiprocessing` ends its daemons by one of them. A forked worker must do this itself, and must not do
what its parent has registered: the parent's temporary directories, sockets and children are still needed.

It does not take for ever: a watchdog ends a worker that hangs there, and prints where each of its threads was.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import faulthandler
import logging
import os
import sys
import time
import traceback
import weakref
from typing import Any, Final, NoReturn

from . import standard

__all__ = ["end_within", "forget_the_parents", "leave"]

SHORTEST: Final = 0.1
LONGEST: Final = 1e6
"""Seconds that the watchdog can be set to."""


_latest = 0
"""How often this process was told to end."""


def end_within(seconds: float, status: int) -> None:
    """From now on, this process ends within ``seconds``: after that at once, with all tracebacks, and with ``status``
    all the same, which does not show that it was late (BC-DRAIN-14). What was said last counts.

    While there is a parent it is faster: it kills at the drain deadline. This is for a worker that has lost it.
    """
    global _latest
    _latest += 1
    seconds = min(max(seconds, SHORTEST), LONGEST)
    # Python's threads do not end a process whose interpreter is kept by others, or is past its exit functions. This
    # does, though with status 1 alone: it comes second, when there is nobody left who would be misled.
    faulthandler.dump_traceback_later(2 * seconds, exit=True, file=2)
    # not by ``threading``, which a worker need not load for it, and which would wait for this thread at the exit
    with contextlib.suppress(RuntimeError):  # no thread is to be had
        _thread.start_new_thread(_end, (seconds, status, _latest))


def _end(seconds: float, status: int, number: int) -> None:
    time.sleep(seconds)
    if number == _latest:
        try:
            faulthandler.dump_traceback(file=2)
        finally:
            os._exit(status)


def forget_the_parents() -> None:
    """In a process that was just forked: what the parent has registered for its exit is the parent's."""
    atexit._clear()
    finalizers: Any = weakref.finalize
    for info in finalizers._registry.values():
        info.atexit = False
    finalizers._registered_with_atexit = False  # so that those to come are registered, in here
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        # as multiprocessing does in its own children: these are not our processes to end
        util._finalizer_registry.clear()
        process: Any = sys.modules["multiprocessing.process"]
        process._children = set()
        atexit.register(util._exit_function)


def leave(status: int) -> NoReturn:
    """End a forked worker as Python ends a program, but for its memory, which the system takes back."""
    try:
        for step in (_wait_for_threads, _run_exit_functions, logging.shutdown):
            try:
                step()
            except BaseException:
                standard.say(traceback.format_exc())
        standard.flush(last=True)
    finally:
        os._exit(status)


def _wait_for_threads() -> None:
    threading: Any = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()


def _run_exit_functions() -> None:
    atexit._run_exitfuncs()
