"""What is broken in :mod:`backchannel.reports`."""

from __future__ import annotations

from backchannel.reports import Reports

from . import rewrite, wrong


@wrong("BC-HELLO-14", role="parent", kills=["test_ready_when_the_welcome_is_answered"])
def ready_at_hello() -> None:
    rewrite(
        Reports._hello,
        "        self._dispatch.welcome(worker)\n",
        (
            "        self._dispatch.welcome(worker)\n"
            "        self._lives.welcomed(worker, now)\n"
            "        worker.order = None\n"
        ),
    )


@wrong("BC-VER-03", role="parent", kills=["test_worker_that_speaks_more"])
def only_exactly_1_0() -> None:
    rewrite(
        Reports._hello,
        "if not idle.hello.lowest <= VERSION <= idle.hello.highest:",
        "if idle.hello.highest != VERSION:",
    )


@wrong("BC-VIOL-01", role="parent", kills=["test_nothing_is_applied_after_a_violation"])
def applies_after_violation() -> None:
    rewrite(
        Reports.read,
        ("            if worker.greeted:\n                self._report(worker, raw, now)\n"),
        (
            "            if worker.greeted:\n"
            "                try:\n"
            "                    self._report(worker, raw, now)\n"
            "                except Violation as violation:\n"
            "                    late = violation\n"
            "                    continue\n"
        ),
    )
    rewrite(
        Reports.read,
        ("            if worker.state not in READING:\n                return\n    except"),
        (
            "            if worker.state not in READING:\n"
            "                return\n"
            "        if 'late' in locals():\n"
            "            raise locals()['late']\n"
            "    except"
        ),
    )


@wrong("BC-VIOL-05", role="parent", kills=["test_noise_harms_nobody_else", "test_idle_worker_errs"])
def violations_only_logged() -> None:
    rewrite(
        Reports.read,
        "        self._failures.violated(worker, violation.message, now, requirement=violation.requirement)\n",
        "        self._lives.note(worker.slot, violation.message, violation.requirement)\n",
    )


@wrong("BC-SHORT-04", role="parent", kills=["test_unusable_listener"])
def unusable_worker_kept() -> None:
    rewrite(
        Reports._answer,
        (
            "        if worker.state is SlotState.READY:\n            self._lives.drain(worker, now)\n        self._sizing"
        ),
        "        self._sizing",
    )


@wrong("BC-KILL-03", role="parent", kills=["test_worker_that_does_not_start"])
def start_ends_at_hello() -> None:
    rewrite(
        Reports._hello,
        "    self._lives.step(worker, SlotEvent.HELLO, now)\n",
        (
            "    self._lives.step(worker, SlotEvent.HELLO, now)\n"
            "    if worker.state is SlotState.STARTING:\n"
            "        worker.state_deadline.when = None\n"
        ),
    )


@wrong("BC-CAP-03", role="parent", kills=["test_retiring_worker_is_drained"])
def retiring_worker_not_drained() -> None:
    rewrite(
        Reports._report,
        (
            "    if not worker.capacity and worker.state in (SlotState.READY, SlotState.SUSPECT):\n"
            "        self._lives.drain(worker, now)  # it has retired (BC-CAP-02)\n"
        ),
        "",
    )


@wrong("BC-DRAIN-08", role="parent", kills=["test_draining_worker_is_listened_to"])
def draining_worker_unheard() -> None:
    rewrite(
        Reports._report,
        "    report = worker.report(raw, self._ceiling)\n",
        (
            "    if worker.state is SlotState.DRAINING:\n"
            "        raise Violation('BC-DRAIN-01', 'a report from a worker that is draining')\n"
            "    report = worker.report(raw, self._ceiling)\n"
        ),
    )


@wrong("BC-VER-12", role="parent", kills=["test_worker_of_another_age"])
def worker_of_any_version() -> None:
    rewrite(Reports._hello, "if not idle.hello.lowest <= VERSION <= idle.hello.highest:", "if False:")


@wrong("BC-HARM-01", role="parent", kills=["test_noise_harms_nobody_else"])
def one_errs_and_all_are_killed() -> None:
    rewrite(
        Reports.read,
        "        self._failures.violated(worker, violation.message, now, requirement=violation.requirement)\n",
        (
            "        for each in list(self._lives.workers.values()):\n"
            "            if each.state in READING:\n"
            "                self._failures.violated(each, violation.message, now, requirement=violation.requirement)\n"
        ),
    )


@wrong("BC-FRAME-03", role="parent", kills=["test_later_dialect_where_1_0_was_agreed"])
def later_dialect_ignored() -> None:
    rewrite(
        Reports._report,
        "    report = worker.report(raw, self._ceiling)\n",
        (
            "    if raw[0] != VERSION or raw[1] == ord('P'):\n"
            "        return\n"
            "    report = worker.report(raw, self._ceiling)\n"
        ),
    )


@wrong("BC-HELLO-10", role="parent", kills=["test_capacity_that_was_not_given"])
def capacity_must_be_the_one_given() -> None:
    rewrite(
        Reports._hello,
        "    worker.greet(idle, self._ceiling)\n",
        (
            "    if idle.capacity != self._dispatch._settings.capacity:\n"
            "        raise Violation('BC-HELLO-03', 'another capacity')\n"
            "    worker.greet(idle, self._ceiling)\n"
        ),
    )


@wrong("BC-SHORT-22", role="parent", kills=["test_unusable_listener_is_an_early_exit"])
def unusable_listener_costs_nothing() -> None:
    rewrite(Reports._answer, "        self._sizing.delay_spawning(now)", "        pass")


@wrong("BC-VIOL-09", role="parent", kills=["test_answer_before_a_violation_counts"])
def nothing_of_a_read_with_a_violation_is_applied() -> None:
    rewrite(
        Reports.read,
        "        for raw in worker.reader.feed(data):\n",
        (
            "        whole = list(worker.reader.feed(data))\n"
            "        if any(raw[3] for raw in whole):\n"
            "            raise Violation('BC-FRAME-03', 'the reserved octet')\n"
            "        for raw in whole:\n"
        ),
    )


@wrong("BC-SILENT-07", role="parent", kills=["test_welcome_does_not_expire"])
def welcome_expires() -> None:
    rewrite(
        Reports._hello,
        "        self._dispatch.welcome(worker)\n",
        (
            "        self._dispatch.welcome(worker)\n"
            "        settings = self._dispatch._settings\n"
            "        due = now + settings.order_deadline + settings.silence_deadline\n"
            "        self._lives._deadlines.set(worker.state_deadline, due)\n"
        ),
    )
