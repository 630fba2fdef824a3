"""What a worker's process is besides: what it has open, how many threads it has, how fast it starts, how it goes."""

from __future__ import annotations

import ctypes
import os
import select
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from backchannel_sync import blocking, events, forked, kinds, worker

from . import allowed, put

KEPT: list[object] = []
"""What a worker has besides: nothing ends it before the worker."""


def around(what: Callable[[Callable[[], int], Any], int]) -> None:
    """``what`` is given the worker, which it runs, and its channel."""
    run = kinds.run

    def ran(channel: Any, *arguments: Any, **more: Any) -> int:
        return what(lambda: run(channel, *arguments, **more), channel)

    kinds.run = ran


@allowed("BC-FORK-05", roles=["worker", "pool"])
def has_descriptors_and_a_thread_of_its_own() -> None:
    """A pipe, a poller and a thread that sleeps, as many run-times open."""

    def run(work: Callable[[], int], _channel: Any) -> int:
        KEPT.extend(os.pipe())
        poller = select.epoll() if hasattr(select, "epoll") else select.kqueue()
        KEPT.append(poller)
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        return work()

    around(run)


@allowed("BC-WORK-01", roles=["worker", "pool"])
def works_in_another_thread() -> None:
    """The main thread is parked, and another one is the worker."""

    def run(work: Callable[[], int], _channel: Any) -> int:
        ended: list[int] = []
        thread = threading.Thread(target=lambda: ended.append(work()))
        thread.start()
        thread.join()
        return ended[0]

    around(run)


@allowed("BC-CHAN-01", roles=["worker", "pool"])
def has_a_child() -> None:
    """A process of its own, which holds nothing of the pool's, and ends with it."""

    def run(work: Callable[[], int], _channel: Any) -> int:
        worker = os.getpid()
        pid = os.fork()
        if not pid:
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            os.closerange(3, 1024)
            while os.getppid() == worker:
                time.sleep(0.05 if sys.platform != "linux" else 3600)
            os._exit(0)
        try:
            return work()
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    around(run)


@allowed("BC-HELLO-01", roles=["worker", "pool"])
def starts_slowly() -> None:
    """It is ready 0.3 s after its start."""

    def run(work: Callable[[], int], _channel: Any) -> int:
        time.sleep(0.3)
        return work()

    around(run)


@allowed("BC-DEATH-03", roles=["worker", "pool"])
def lingers() -> None:
    """It closes its channel when it has finished, and exits a moment later."""

    def run(work: Callable[[], int], channel: Any) -> int:
        status = work()
        channel.close()
        time.sleep(0.1)
        return status

    around(run)


@allowed("BC-WORK-01", roles=["worker"])
def waits_with_poll() -> None:
    put(events, "selector_class", lambda poller: selectors.PollSelector)


@allowed("BC-WORK-01", roles=["worker"])
def waits_with_select() -> None:
    put(events, "selector_class", lambda poller: selectors.SelectSelector)


@allowed("BC-DRAIN-06", roles=["worker", "pool"], words=[("sync_service:blocking", "sync_service:events")])
def turns_at_capacity_1() -> None:
    """One connection at a time, and event-based: it reads end-of-file, and orders for nothing, while it serves."""
    from backchannel_sync import serving

    for module in (worker, serving):
        put(module, "check", lambda handler, capacity: None)


@allowed("BC-DEATH-05", roles=["pool"])
def reads_the_end_at_the_gate() -> None:
    """A worker that is drained while it loads its code exits at once."""
    work = forked.work

    def watched(slot: int, channel: Any, listeners: Any, find: Any, *more: Any, **named: Any) -> int:
        def look() -> None:
            while loading:
                if blocking.has_ended(channel):
                    os._exit(0)
                time.sleep(0.005)

        loading = [True]

        def found() -> Any:
            thread = threading.Thread(target=look, daemon=True)
            thread.start()
            try:
                return find()
            finally:
                loading.clear()
                thread.join()

        return work(slot, channel, listeners, found, *more, **named)

    from backchannel_sync import parent

    put(parent, "work", watched)


@allowed("BC-WORK-07", roles=["worker", "pool"], advice=["BC-WORK-07"])
def ends_with_a_service_that_fails() -> None:
    def tell(error: BaseException, *more: Any) -> None:
        os._exit(1)

    put(blocking, "tell", tell)
    put(events, "tell", tell)
