"""What is measured of one server alone, or of the core: system calls, memory, the ramp, a dispatch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import micro
import ratios
from comparisons import Decided, Row, Sample, system_calls
from load_generator import LoadGenerator, closed
from ratios import Estimate
from servers_under_test import ServerUnderTest, sync, trio

__all__ = ["calls", "core", "memory", "ramp"]


def calls(load: LoadGenerator, pace: float) -> Iterator[Decided]:
    """The parent's system calls and wake-ups for each connection, at 1 client and capacity 1."""
    folded = sync(1, 8, handler="handlers:brief_blocking", name="sync, capacity 1, folded")
    for server, most in ((sync(1, 8), {"calls": 5.0, "wakeups": 2.0}), (folded, {"calls": 4.0, "wakeups": 1.2})):
        samples: list[Sample] = []
        running = server.start()
        try:
            for _ in range(7):
                samples.append(system_calls(running, load, closed(1, 0.5 * pace)))
        finally:
            running.stop()
        how = ", folded" if server is folded else ""
        for figure, name in (("calls", "system calls"), ("wakeups", "wake-ups")):
            values = [sample[figure] for sample in samples if figure in sample]
            if values:
                text = f"(a) 1 client{how}: parent's {name} for each connection"
                row = Row(text, figure, server.name, how="value", most=most[figure])
                yield Decided("calls", row, ratios.mean(values))


def memory(_load: LoadGenerator, pace: float) -> Iterator[Decided]:
    """Each further idle worker's proportional set size."""
    more = 32 if pace >= 1 else 8
    kinds: list[tuple[str, float, Callable[[int], ServerUnderTest]]] = [
        ("sync, preloaded", 2, lambda workers: sync(64, workers, "--preload")),
        ("trio", 4, lambda workers: trio(64, workers)),
    ]
    for name, most, server in kinds:
        used = []
        for workers in (4, 4 + more):
            running = server(workers).start()
            try:
                used.append(running.memory())
            finally:
                running.stop()
        each = (used[1] - used[0]) / more / 2**20
        row = Row(f"memory for each further idle worker, {name}", "pss", name, how="value", most=most, unit="MiB")
        yield Decided("memory", row, Estimate(each, each, each))


def ramp(load: LoadGenerator, pace: float) -> list[tuple[float, float]]:
    """(seconds, workers) while 48 clients come at once to a pool of min-spare 2, and leave again."""
    size = {"start": 2, "min": 2, "max": 64, "min-spare": 2, "max-spare": 8, "scaling-pass": 0.5 * pace}
    server = sync(1, 0, *(word for name, value in size.items() for word in (f"--{name}", str(value))))
    running = server.start()
    points: list[tuple[float, float]] = []
    try:
        load.begin(running.address, closed(48, 5 * pace, [(1.0, "all", "s 0.05")]))
        began = time.monotonic()
        while time.monotonic() < began + 10 * pace:
            points.append((time.monotonic() - began, len(running.document()["workers"])))
            time.sleep(0.1 * pace)
        load.result()
    finally:
        running.stop()
    return points


def core(_load: LoadGenerator, _pace: float) -> Iterator[Decided]:
    """One dispatch of the core at 4,096 workers against 8, interleaved."""
    small, large = [], []
    for _ in range(7):
        small.append(micro.time_dispatch(8, 2000))
        large.append(micro.time_dispatch(4096, 2000))
    against = Row("core: one dispatch at 4,096 workers against 8", "seconds", "core", "core", most=2.0)
    alone = Row("core: one dispatch and its reports at 8 workers", "seconds", "core", how="value", unit="µs")
    yield Decided("core", against, ratios.ratio(large, small))
    yield Decided("core", alone, ratios.mean([one * 1e6 for one in small]))
