"""Several cases at once: ``run --jobs N``.

The run starts helpers. A helper is the same command once more: it collects the same cases, and runs those whose numbers
it is told. What came of a case goes back as a line of JSON, and the run takes it as if it had run the case itself, so
the report, the baseline and pytest's own options work as ever.

Only cases that do not disturb others are shared out. A case that measures runs alone, by the run itself, when the
helpers have ended: one that reads counters of the kernel, or that asks for ``figures`` and is not marked ``counts``.
So does one that is left out: to say so takes less time than to ask a helper, and to start one takes a second.

pytest-xdist would not do: it cannot keep its other processes idle while one runs a case that measures. That would take
a second run, and the reports of both would have to be merged. And the suite must run where there is pytest alone.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import pytest

from .plugin import Suite, left_out

__all__ = ["OPTION", "Controller", "Helper"]

OPTION: Final = "--helper"
"""What the command of a helper has more: the descriptor on which it is told what to run."""
COUNTERS: Final = {"switches", "cpu_seconds"}
"""What is asked of the kernel about processes that must not be disturbed."""
LIMIT: Final = 900.0
"""Seconds that a helper has to end what it has begun: more than the longest case."""
LEAST: Final = 10
"""So many cases make a helper worth its start."""


def runs_alone(item: pytest.Item) -> bool:
    """Whether the case measures something."""
    asked = {question for mark in item.iter_markers("kernel") for question in mark.args}
    measures = "figures" in getattr(item, "fixturenames", ()) and item.get_closest_marker("counts") is None
    return measures or bool(asked & COUNTERS)


class Helper:
    """The plugin of a helper: runs the cases that it is told to, and says what came of them."""

    def __init__(self, suite: Suite, channel: socket.socket) -> None:
        self._suite = suite
        self._channel = channel
        self._reports: list[dict[str, Any]] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        with self._channel, self._channel.makefile("rw") as lines:
            for line in lines:
                item = session.items[int(line)]
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                lines.write(json.dumps([item.nodeid, self._reports, self._suite.figures_of(item)]) + "\n")
                lines.flush()
                self._reports = []
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reports.append(report._to_json())


class Controller:
    """The plugin of the run: ``jobs`` helpers at most, each started by ``command``, the option and ``rest``."""

    def __init__(self, suite: Suite, jobs: int, command: Sequence[str], rest: Sequence[str]) -> None:
        self._suite = suite
        self._jobs = jobs
        self._command = command
        self._rest = rest

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        options = session.config.option
        shared = [at for at, item in enumerate(session.items) if not runs_alone(item) and not left_out(item)]
        jobs = min(self._jobs, len(shared) // LEAST)
        if session.testsfailed or options.collectonly or options.usepdb or options.capture == "no" or jobs < 2:
            return None
        with self._helpers(jobs) as helpers:
            self._share(session, deque(shared), helpers)
        given = set(shared)
        own = [item for at, item in enumerate(session.items) if at not in given]
        for at, item in enumerate(own, 1):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=own[at] if at < len(own) else None)
            _heed(session)
        return True

    @contextmanager
    def _helpers(self, jobs: int) -> Iterator[list[socket.socket]]:
        """The channels of so many helpers. Afterwards they have ended."""
        channels, processes = [], []
        try:
            for _ in range(jobs):
                ours, theirs = socket.socketpair()
                channels.append(ours)
                with theirs:
                    number = theirs.fileno()
                    command = [*self._command, OPTION, str(number), *self._rest]
                    processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, pass_fds=[number]))
            yield channels
        finally:
            for channel in channels:
                channel.close()
            for process in processes:
                try:
                    process.wait(LIMIT)  # each ends what it has begun, and its pools with it
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _share(self, session: pytest.Session, numbers: deque[int], channels: Sequence[socket.socket]) -> None:
        """Give each helper a case, and another whenever it has done one."""
        with selectors.DefaultSelector() as selector:
            begun: dict[socket.socket, int] = {}
            files = {channel: channel.makefile("r") for channel in channels}
            try:
                for one in channels:
                    selector.register(one, selectors.EVENT_READ)
                    self._tell(one, numbers, begun)
                while begun:
                    for key, _ in selector.select():
                        channel: socket.socket = key.fileobj  # type: ignore[assignment]
                        line = ""
                        with suppress(ConnectionResetError):  # it has ended without reading
                            line = files[channel].readline()
                        item = session.items[begun.pop(channel)]
                        if not line:
                            pytest.exit(f"a helper ended while it ran {item.nodeid}; --jobs 1 does without", 1)
                        self._take(session, item, *json.loads(line))
                        self._tell(channel, numbers, begun)
            finally:
                for file in files.values():
                    file.close()

    def _tell(self, channel: socket.socket, numbers: deque[int], begun: dict[socket.socket, int]) -> None:
        if numbers:
            begun[channel] = numbers.popleft()
            with suppress(OSError):  # it has ended: that is read next
                channel.sendall(b"%d\n" % begun[channel])

    def _take(
        self,
        session: pytest.Session,
        item: pytest.Item,
        nodeid: str,
        reports: list[dict[str, Any]],
        figures: dict[str, Any],
    ) -> None:
        """A case has been run elsewhere."""
        if nodeid != item.nodeid:
            pytest.exit(f"a helper collected other cases: it ran {nodeid} instead of {item.nodeid}", 1)
        if figures:
            self._suite.figures_of(item).update(figures)
        hook = item.config.hook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for data in reports:
            report = pytest.TestReport._from_json(data)
            if isinstance(report.longrepr, list):  # a skip's place and reason: JSON has no tuples
                report.longrepr = tuple(report.longrepr)
            self._suite.take(item, report)
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        _heed(session)


def _heed(session: pytest.Session) -> None:
    """End the run where pytest would, as with ``-x``."""
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
