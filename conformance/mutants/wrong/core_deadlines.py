"""Deadlines of :mod:`backchannel` that count from the wrong event."""

from __future__ import annotations

from backchannel.dispatch import Dispatch
from backchannel.lifecycle import Lifecycle
from backchannel.parent import Parent
from backchannel.reports import Reports

from . import rewrite, wrong

REPORTED = "    report = worker.report(raw, self._ceiling)\n"


@wrong("BC-KILL-03", role="parent", kills=["test_hello_does_not_put_off_the_start_deadline"])
def start_deadline_from_the_hello() -> None:
    stepped = "    self._lives.step(worker, SlotEvent.HELLO, now)\n"
    rewrite(Reports._hello, stepped, stepped + "    self._lives._set_deadline(worker, now)\n")


@wrong("BC-KILL-03", role="parent", kills=["test_start_deadline_of_a_later_worker"])
def start_deadline_from_the_start_of_the_pool() -> None:
    rewrite(
        Lifecycle.spawn,
        "    self._set_deadline(worker, now)\n",
        "    vars(type(self)).get('began') or setattr(type(self), 'began', now)\n"
        "    self._set_deadline(worker, type(self).began)\n",
    )


@wrong("BC-SILENT-01", role="parent", kills=["test_status_does_not_put_off_the_order_deadline"])
def order_deadline_from_the_last_report() -> None:
    rewrite(
        Reports._report,
        REPORTED,
        REPORTED + "    if worker.order_deadline.when is not None:\n"
        "        dispatch = self._dispatch\n"
        "        dispatch._deadlines.set(worker.order_deadline, now + dispatch._settings.order_deadline)\n",
    )


@wrong("BC-SILENT-01", role="parent", kills=["test_each_order_has_its_own_deadline"])
def order_deadline_from_the_first_order() -> None:
    rewrite(
        Dispatch._order_one,
        "now + self._settings.order_deadline * 2**doublings",
        "vars(self).setdefault('firsts', {}).setdefault(worker, now) + self._settings.order_deadline * 2**doublings",
    )


@wrong("BC-SILENT-01", role="parent", kills=["test_each_worker_has_its_own_deadline"])
def order_deadline_from_the_oldest_order() -> None:
    rewrite(
        Dispatch._order_one,
        "    self._deadlines.set(worker.order_deadline, now + self._settings.order_deadline * 2**doublings)\n",
        "    if self.in_flight == most:\n"
        "        self.since = now\n"
        "    self._deadlines.set(worker.order_deadline, self.since + self._settings.order_deadline * 2**doublings)\n",
    )


@wrong("BC-SILENT-05", role="parent", kills=["test_silence_ends_in_a_kill"])
def silence_deadline_from_the_order() -> None:
    rewrite(
        Lifecycle._set_deadline,
        "now + getattr(self._settings, setting)",
        "now + getattr(self._settings, setting)"
        " - (self._settings.order_deadline if worker.state is SlotState.SUSPECT else 0)",
    )


@wrong("BC-SILENT-05", role="parent", kills=["test_status_does_not_put_off_the_silence_deadline"])
def silence_deadline_from_the_last_report() -> None:
    rewrite(
        Reports._report,
        REPORTED,
        REPORTED + "    if worker.state is SlotState.SUSPECT:\n        self._lives._set_deadline(worker, now)\n",
    )


@wrong("BC-DRAIN-02", role="parent", kills=["test_report_does_not_put_off_the_drain_deadline"])
def drain_deadline_from_the_last_report() -> None:
    rewrite(
        Reports._report,
        REPORTED,
        REPORTED + "    if worker.state is SlotState.DRAINING:\n        self._lives._set_deadline(worker, now)\n",
    )


@wrong("BC-DRAIN-02", role="parent", kills=["test_drain_deadline_at_a_stop"])
def drain_deadline_from_the_stop() -> None:
    rewrite(
        Parent.stop,
        "        self._reload.abandon()\n",
        "        self.stopped = now\n        self._reload.abandon()\n",
    )
    rewrite(
        Parent._drain_all,
        "            self._lives.drain_each([worker], now)\n",
        "            self._lives.drain_each([worker], now)\n"
        "            self._lives._set_deadline(worker, self.stopped)\n",
    )


@wrong("BC-STOP-05", role="parent", kills=["test_nothing_puts_off_the_stop_deadline"])
def stop_deadline_from_the_last_sigterm() -> None:
    rewrite(
        Parent.stop,
        "    elif self._step(ParentEvent.STOP):\n",
        "    elif self._step(ParentEvent.STOP) or self.state is ParentState.STOPPING:\n",
    )


@wrong("BC-STOP-07", role="parent", kills=["test_nothing_puts_off_the_stop_deadline"])
def stop_deadline_from_the_last_arrival() -> None:
    rewrite(
        Parent.readable,
        "    self.backlogs[listener].dirty = True\n",
        "    self.backlogs[listener].dirty = True\n"
        "    if self.state is ParentState.STOPPING:\n"
        "        import time\n"
        "        self._deadlines.set(self._stop_deadline, time.monotonic() + self.settings.stop_deadline)\n",
    )


@wrong("BC-SHORT-17", role="parent", kills=["test_cool_down_counts_from_the_answer"])
def cool_down_from_the_order() -> None:
    rewrite(
        Dispatch._order_one,
        "    self._on_change(worker)\n",
        "    vars(self).setdefault('sent', {})[worker] = now\n    self._on_change(worker)\n",
    )
    rewrite(
        Dispatch._fell_short,
        "    reason, rows, cool_down = busy.reason, worker.short_rows, self._settings.cool_down\n",
        "    reason, rows, cool_down = busy.reason, worker.short_rows, self._settings.cool_down\n"
        "    now = self.sent[worker]\n",
    )


@wrong(
    "BC-PASS-02",
    role="parent",
    kills=["test_answer_in_time_to_the_welcome", "test_late_answer_before_the_silence_deadline"],
)
def judges_on_arrival_of_anything() -> None:
    rewrite(
        Parent.received,
        "    self._reports.read(self.workers[slot], data, now)\n",
        "    self.judge(now)\n    self._reports.read(self.workers[slot], data, now)\n",
    )
