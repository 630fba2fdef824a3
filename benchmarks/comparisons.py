"""A bout: contestants under one load, measured in turn, again and again; and the rows of the table that it decides.

All contestants of a bout run all the time, and those that are not measured wait in the kernel. A round measures each
once, and the next round begins with the next one, so that what a contestant leaves behind does not always meet the
same one.
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
from contestants import Contestant, Running
from loads import Load, Task
from ratios import Estimate

__all__ = ["Bout", "Decided", "Row", "Sample", "decide", "run", "system_calls"]

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

    bout: str
    row: Row
    estimate: Estimate

    @property
    def verdict(self) -> str:
        """``met``, ``MISSED``, or nothing where there is no goal."""
        if self.row.least is None and self.row.most is None:
            return ""
        return "met" if self.estimate.meets(self.row.least, self.row.most) else "MISSED"


@dataclass(frozen=True)
class Bout:
    """Contestants, their load, and what is to be read off."""

    key: str
    title: str
    contestants: Sequence[Contestant]
    task: Task
    rows: Sequence[Row]
    rounds: int = 7
    fresh: bool = False
    """Every contestant is started anew for each round, because one leaves too much behind."""
    extra: Callable[[Running], Sample] | None = None
    """Measured of each contestant besides, after its load."""


def run(bout: Bout, load: Load, tell: Callable[[str], None]) -> Samples:
    """All rounds; the samples of each contestant."""
    samples: Samples = {contestant.name: [] for contestant in bout.contestants}
    if bout.fresh:
        for turn in range(bout.rounds):
            for contestant in bout.contestants:
                server = contestant.start()
                try:
                    samples[contestant.name].append(_measure(server, load, bout.task))
                finally:
                    server.stop()
            tell(f"{bout.key}: round {turn + 1} of {bout.rounds}")
        return samples
    with contextlib.ExitStack() as stack:
        running = []
        for contestant in bout.contestants:
            running.append(contestant.start())
            stack.callback(running[-1].stop)
        for server in running:
            load.run(server.address, _warm_up(bout.task))
        for turn in range(bout.rounds):
            first = turn % len(running)
            for server in running[first:] + running[:first]:
                sample = _measure(server, load, bout.task)
                if bout.extra is not None:
                    sample |= bout.extra(server)
                samples[server.contestant.name].append(sample)
            tell(f"{bout.key}: round {turn + 1} of {bout.rounds}")
    return samples


def _warm_up(task: Task) -> Task:
    if task["mode"] == "burst":
        return {**task, "times": 1}
    return {**task, "seconds": min(0.2, task["seconds"]), "every": None}


def _measure(server: Running, load: Load, task: Task) -> Sample:
    before = server.figures()
    sample = load.run(server.address, task)
    used = server.figures().since(before)
    count = max(1.0, sample["connections"])
    sample |= used
    sample["parent_us"] = used["parent_cpu"] / count * 1e6
    sample["worker_us"] = used["worker_cpu"] / count * 1e6
    sample["server_us"] = sample["parent_us"] + sample["worker_us"]
    sample["parent_waits_each"] = used["parent_waits"] / count
    sample["worker_waits_each"] = used["worker_waits"] / count
    return sample


def decide(bout: Bout, samples: Samples) -> list[Decided]:
    """What the samples say for each row."""
    found = []
    for row in bout.rows:
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
        found.append(Decided(bout.key, row, estimate))
    return found


def system_calls(server: Running, load: Load, task: Task) -> Sample:
    """System calls and wake-ups of a parent for each connection: strace counts the calls, the parent itself how
    often its poller returned. Nothing where there is no strace.
    """
    strace = shutil.which("strace")
    if strace is None:
        return {}
    tracer = subprocess.Popen([strace, "-c", "-p", str(server.pid)], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    tracer.stderr.readline()  # "attached"
    woken = server.document()["counters"]["wakeups"]
    sample = load.run(server.address, task)
    woken = server.document()["counters"]["wakeups"] - woken
    time.sleep(0.05)
    tracer.send_signal(signal.SIGINT)
    _, report = tracer.communicate()
    calls = sum(int(words[3]) for line in report.splitlines() if (words := line.split()) and _is_count(words))
    return {"calls": calls / sample["connections"], "wakeups": woken / sample["connections"]}


def _is_count(words: Sequence[str]) -> bool:
    return len(words) >= 5 and words[-1] != "total" and words[3].isdigit()
