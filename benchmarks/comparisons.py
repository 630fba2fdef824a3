"""A comparison: several servers under one load, measured in turn, again and again, and the rows of the table that it
fills.

All its servers run all the time; those that are not measured sleep in the kernel. A round measures each server once,
and each round begins with another one, so that what a server leaves behind does not always meet the same successor.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ratios
from load_generator import LoadGenerator, Task
from ratios import Estimate
from servers_under_test import RunningServer, ServerUnderTest

__all__ = ["Comparison", "Decided", "Row", "Sample", "decide", "run", "system_calls"]

Sample = dict[str, float]
Samples = dict[str, list[Sample]]


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure of ``subject``, alone or against that of ``reference``."""

    text: str
    figure: str
    subject: str
    reference: str = ""
    how: str = "ratio"
    """``ratio`` or ``difference`` to the reference; ``value``, the figure itself, or ``worst``, its greatest."""
    least: float | None = None
    most: float | None = None
    scale: float = 1.0
    unit: str = ""
    label: str = ""
    """In the chart, where it is not the subject's name."""

    @property
    def goal(self) -> str:
        """As the table prints it."""
        if self.least is not None:
            return f"at least {self.least:g}"
        return "shown" if self.most is None else f"at most {self.most:g}"


@dataclass(frozen=True)
class Decided:
    """A row and what was measured for it."""

    comparison: str
    row: Row
    estimate: Estimate

    @property
    def verdict(self) -> str:
        """``met``, ``MISSED``, or nothing where there is no goal."""
        if self.row.least is None and self.row.most is None:
            return ""
        return "met" if self.estimate.meets(self.row.least, self.row.most) else "MISSED"


@dataclass(frozen=True)
class Comparison:
    """Servers, their load, and what is to be read off."""

    key: str
    title: str
    servers: Sequence[ServerUnderTest]
    task: Task
    rows: Sequence[Row]
    rounds: int = 7
    fresh: bool = False
    """Every server is started anew for each round, because one leaves too much behind."""
    extra: Callable[[RunningServer], Sample] | None = None
    """Measured of each server besides, after its load."""


def run(comparison: Comparison, load: LoadGenerator, tell: Callable[[str], None]) -> Samples:
    """All rounds; the samples of each server, by its name."""
    samples: Samples = {server.name: [] for server in comparison.servers}
    if comparison.fresh:
        for turn in range(comparison.rounds):
            for server in comparison.servers:
                running = server.start()
                try:
                    samples[server.name].append(_measure(running, load, comparison.task))
                finally:
                    running.stop()
            tell(f"{comparison.key}: round {turn + 1} of {comparison.rounds}")
        return samples
    with contextlib.ExitStack() as stack:
        started = []
        for server in comparison.servers:
            started.append(server.start())
            stack.callback(started[-1].stop)
        for running in started:
            load.run(running.address, _warm_up(comparison.task))
        for turn in range(comparison.rounds):
            first = turn % len(started)
            for running in started[first:] + started[:first]:
                sample = _measure(running, load, comparison.task)
                if comparison.extra is not None:
                    sample |= comparison.extra(running)
                samples[running.server.name].append(sample)
            tell(f"{comparison.key}: round {turn + 1} of {comparison.rounds}")
    return samples


def _warm_up(task: Task) -> Task:
    if task["mode"] == "burst":
        return {**task, "times": 1}
    return {**task, "seconds": min(0.2, task["seconds"]), "every": None}


def _measure(running: RunningServer, load: LoadGenerator, task: Task) -> Sample:
    before = running.figures()
    sample = load.run(running.address, task)
    used = running.figures().since(before)
    count = max(1.0, sample["connections"])
    sample |= used
    sample["parent_us"] = used["parent_cpu"] / count * 1e6
    sample["worker_us"] = used["worker_cpu"] / count * 1e6
    sample["server_us"] = sample["parent_us"] + sample["worker_us"]
    sample["parent_waits_each"] = used["parent_waits"] / count
    sample["worker_waits_each"] = used["worker_waits"] / count
    return sample


def decide(comparison: Comparison, samples: Samples) -> list[Decided]:
    """What the samples say for each row."""
    found = []
    for row in comparison.rows:
        ours = [sample[row.figure] * row.scale for sample in samples[row.subject] if row.figure in sample]
        theirs = [sample[row.figure] * row.scale for sample in samples.get(row.reference, ()) if row.figure in sample]
        if not ours:
            continue
        if row.how == "value":
            estimate = ratios.mean(ours)
        elif row.how == "worst":
            estimate = Estimate(max(ours), max(ours), max(ours))
        elif row.how == "difference":
            estimate = ratios.difference(ours, theirs)
        else:
            estimate = ratios.ratio(ours, theirs)
        found.append(Decided(comparison.key, row, estimate))
    return found


def system_calls(running: RunningServer, load: LoadGenerator, task: Task) -> Sample:
    """System calls and wake-ups of a parent for each connection: strace counts the calls, the parent itself how
    often its poller returned. Nothing where there is no strace.
    """
    strace = shutil.which("strace")
    if strace is None:
        return {}
    tracer = subprocess.Popen([strace, "-c", "-p", str(running.pid)], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    tracer.stderr.readline()  # "attached"
    woken = running.document()["counters"]["wakeups"]
    sample = load.run(running.address, task)
    woken = running.document()["counters"]["wakeups"] - woken
    time.sleep(0.05)
    tracer.send_signal(signal.SIGINT)
    _, report = tracer.communicate()
    calls = sum(int(words[3]) for line in report.splitlines() if (words := line.split()) and _is_count(words))
    return {"calls": calls / sample["connections"], "wakeups": woken / sample["connections"]}


def _is_count(words: Sequence[str]) -> bool:
    return len(words) >= 5 and words[-1] != "total" and words[3].isdigit()
