"""What no pair of contestants shows: system calls, memory, the ramp, and the core by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import micro
import ratios
from bouts import Decided, Row, Sample, system_calls
from contestants import Contestant, sync, trio
from loads import Load, closed
from ratios import Estimate

__all__ = ["calls", "core", "memory", "ramp"]


def calls(load: Load, pace: float) -> Iterator[Decided]:
    """The parent's system calls and wake-ups for each connection, at 1 client and capacity 1."""
    folded = sync(1, 8, handler="handlers:brief_blocking", name="sync, capacity 1, folded")
    for contestant, most in ((sync(1, 8), {"calls": 5.0, "wakeups": 2.0}), (folded, {"calls": 4.0, "wakeups": 1.2})):
        samples: list[Sample] = []
        server = contestant.start()
        try:
            for _ in range(7):
                samples.append(system_calls(server, load, closed(1, 0.5 * pace)))
        finally:
            server.stop()
        how = ", folded" if contestant is folded else ""
        for figure, name in (("calls", "system calls"), ("wakeups", "wake-ups")):
            values = [sample[figure] for sample in samples if figure in sample]
            if values:
                text = f"(a) 1 client{how}: parent's {name} for each connection"
                row = Row(text, figure, contestant.name, how="value", most=most[figure])
                yield Decided("calls", row, ratios.mean(values))


def memory(_load: Load, pace: float) -> Iterator[Decided]:
    """Each further idle worker's proportional set size."""
    more = 32 if pace >= 1 else 8
    kinds: list[tuple[str, float, Callable[[int], Contestant]]] = [
        ("sync, preloaded", 2, lambda workers: sync(64, workers, "--preload")),
        ("trio", 4, lambda workers: trio(64, workers)),
    ]
    for name, most, contestant in kinds:
        used = []
        for workers in (4, 4 + more):
            server = contestant(workers).start()
            try:
                used.append(server.memory())
            finally:
                server.stop()
        each = (used[1] - used[0]) / more / 2**20
        row = Row(f"memory for each further idle worker, {name}", "pss", name, how="value", most=most, unit="MiB")
        yield Decided("memory", row, Estimate(each, each, each))


def ramp(load: Load, pace: float) -> list[tuple[float, float]]:
    """(seconds, workers) while 48 clients come at once to a pool of min-spare 2, and leave again."""
    size = {"start": 2, "min": 2, "max": 64, "min-spare": 2, "max-spare": 8, "scaling-pass": 0.5 * pace}
    contestant = sync(1, 0, *(word for name, value in size.items() for word in (f"--{name}", str(value))))
    server = contestant.start()
    points: list[tuple[float, float]] = []
    try:
        load.begin(server.address, closed(48, 5 * pace, [(1.0, "all", "s 0.05")]))
        began = time.monotonic()
        while time.monotonic() < began + 10 * pace:
            points.append((time.monotonic() - began, len(server.document()["workers"])))
            time.sleep(0.1 * pace)
        load.result()
    finally:
        server.stop()
    return points


def core(_load: Load, _pace: float) -> Iterator[Decided]:
    """One dispatch of the core at 4,096 workers against 8, interleaved."""
    small, large = [], []
    for _ in range(7):
        small.append(micro.time_dispatch(8, 2000))
        large.append(micro.time_dispatch(4096, 2000))
    against = Row("core: one dispatch at 4,096 workers against 8", "seconds", "core", "core", most=2.0)
    alone = Row("core: one dispatch and its reports at 8 workers", "seconds", "core", how="value", unit="µs")
    yield Decided("core", against, ratios.ratio(large, small))
    yield Decided("core", alone, ratios.mean([one * 1e6 for one in small]))
