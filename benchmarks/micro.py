"""Micro-benchmarks of the core: ``python benchmarks/micro.py`` runs them under pyperf.

One dispatch, one report, one scaling pass, with 8, 64, 512 and 4,096 workers: no sockets, no processes, no clock.
"""

from __future__ import annotations

import time
from pathlib import Path
from sys import path

path.insert(0, str(Path(__file__).parents[1] / "reference" / "core"))

from backchannel import Busy, Gone, Hello, Idle, Parent, Reason, Scaling, Send, Settings, encode
from backchannel.frames import VERSION, Features, decode
from backchannel.sizing import Memory, WorkerView, decide
from backchannel.states import SlotState

__all__ = ["SIZES", "pool", "time_dispatch", "time_report", "time_scaling"]

SIZES = (8, 64, 512, 4096)
CAPACITY = 64


def pool(workers: int, capacity: int = CAPACITY, policy: str = "") -> Parent:
    """A parent with ``workers`` READY workers, all idle."""
    parent = Parent(Settings(capacity=capacity, policy=policy), Scaling.fixed(workers))
    parent.start(0.0)
    parent.take_actions()
    hello = encode(Idle(capacity, Hello(VERSION, VERSION, Features.NONE)))
    for slot in range(workers):
        parent.received(slot, hello, 0.0)
    for action in parent.take_actions():
        if isinstance(action, Send):
            parent.received(action.slot, encode(Busy(1, 0, Reason.FILLED, 0, capacity)), 0.0)
    parent.dispatch({0: 0})
    return parent


def time_dispatch(workers: int, loops: int) -> float:
    """Seconds for one connection: readable, an order, its BUSY, its end."""
    parent = pool(workers)
    began = time.perf_counter()
    for _ in range(loops):
        parent.readable(0)
        parent.judge(1.0)
        parent.dispatch(dict.fromkeys(parent.to_count(), 1))
        (send,) = parent.take_actions()
        assert isinstance(send, Send)
        worker = parent.workers[send.slot]
        order = decode(send.data).order  # type: ignore[union-attr]
        parent.received(send.slot, encode(Busy(order, 1, Reason.FILLED, worker.open + 1, CAPACITY)), 1.0)
        parent.received(
            send.slot, encode(Idle(CAPACITY) if not worker.open - 1 else Gone(worker.open - 1, CAPACITY)), 1.0
        )
        parent.next_deadline()
    return (time.perf_counter() - began) / loops


def time_report(workers: int, loops: int) -> float:
    """Seconds for one report: a GONE or IDLE of the worker that has taken ``loops`` connections."""
    parent = pool(workers, capacity=loops + 1)
    parent.readable(0)
    reports = []
    for slot in (0,):
        worker = parent.workers[slot]
        worker.open = loops
        reports = [encode(Gone(left, loops + 1)) for left in range(loops - 1, 0, -1)] or [encode(Idle(loops + 1))]
    began = time.perf_counter()
    for report in reports:
        parent.received(0, report, 1.0)
    return (time.perf_counter() - began) / len(reports)


def time_scaling(workers: int, loops: int) -> float:
    """Seconds for one full scaling pass, which looks at every worker."""
    views = [WorkerView(slot, SlotState.READY, slot % 3, CAPACITY) for slot in range(workers)]
    scaling = Scaling(start=1, min=1, max=workers, min_spare=1, max_spare=1)
    began = time.perf_counter()
    for _ in range(loops):
        decide(views, scaling, CAPACITY, Memory(), 1.0)
    return (time.perf_counter() - began) / loops


def main() -> None:
    """All of them, by pyperf."""
    import pyperf

    runner = pyperf.Runner()
    for name, function in (("dispatch", time_dispatch), ("report", time_report), ("scaling pass", time_scaling)):
        for workers in SIZES:
            runner.bench_time_func(
                f"{name}, {workers} workers", lambda loops, f=function, w=workers: f(w, loops) * loops
            )


if __name__ == "__main__":
    main()
