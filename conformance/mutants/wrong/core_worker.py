"""What is broken in :mod:`backchannel.worker`."""

from __future__ import annotations

from backchannel.worker import WorkerSide

from . import rewrite, wrong


@wrong("BC-HELLO-01", role="worker", kills=["test_hello_is_first"])
def capacity_always_1() -> None:
    rewrite(
        WorkerSide.hello,
        "self._queued.append(encode(Idle(self.capacity, hello)))",
        "self._queued.append(encode(Idle(1, hello)))",
    )


@wrong("BC-HELLO-02", role="worker", kills=["test_later_idle_has_no_hello"])
def every_idle_is_a_hello() -> None:
    rewrite(
        WorkerSide._status,
        "return encode_status(self.open, self.capacity)",
        "return encode_status(self.open, self.capacity) if self.open else encode(Idle(self.capacity, Hello(16, 16, self._features)))",
    )


@wrong("BC-HELLO-05", role="worker", kills=["test_silence_between_hello_and_welcome"])
def status_before_welcome() -> None:
    rewrite(
        WorkerSide.hello,
        "self._queued.append(encode(Idle(self.capacity, hello)))",
        "self._queued.append(encode(Idle(self.capacity, hello)) + encode(Idle(self.capacity + 1)))",
    )


@wrong("BC-DRAIN-04", role="worker", kills=["test_end_before_the_welcome"])
def early_end_is_an_error() -> None:
    rewrite(
        WorkerSide.eof,
        "    if self.state is not WorkerState.DRAINING:\n",
        (
            "    if self.state is WorkerState.GREETED:\n"
            "        self.exit_status = 1\n"
            "    if self.state is not WorkerState.DRAINING:\n"
        ),
    )


@wrong("BC-VER-06", role="worker", kills=["test_welcome_in_another_version"])
def any_version_welcome() -> None:
    rewrite(WorkerSide._order, "    frame = decode(raw)\n", "    frame = decode(bytes([VERSION]) + raw[1:])\n")
    rewrite(WorkerSide._order, "    if self.state is WorkerState.GREETED and raw[0] != VERSION:\n", "    if False:\n")


@wrong("BC-VER-04", role="worker", kills=["test_version_changes_later"])
def version_checked_once() -> None:
    rewrite(WorkerSide._order, "    frame = decode(raw)\n", "    frame = decode(bytes([VERSION]) + raw[1:])\n")


@wrong("BC-VIOL-03", role="worker", kills=["test_worker_leaves_a_parent_that_errs"])
def violations_ignored() -> None:
    rewrite(
        WorkerSide.receive,
        ("        for raw in self._reader.feed(data):\n            order = self._order(raw)\n"),
        (
            "        for raw in self._reader.feed(data):\n"
            "            try:\n"
            "                order = self._order(raw)\n"
            "            except Violation:\n"
            "                continue\n"
        ),
    )


@wrong("BC-ACCEPT-04", role="worker", kills=["test_order_for_an_unknown_listener"])
def unknown_listener_is_0() -> None:
    rewrite(
        WorkerSide._order,
        "    if frame.listener >= self._listeners:\n",
        (
            "    if frame.listener >= self._listeners:\n"
            "        return Accept(frame.order, 0, frame.max)\n"
            "    if False:\n"
        ),
    )


@wrong("BC-VIOL-03", role="worker", kills=["test_violation_while_holding"])
def reports_after_violation() -> None:
    rewrite(
        WorkerSide.receive,
        ("        self._mute = True\n        self.exit_status = PROTOCOL\n"),
        "        self.exit_status = PROTOCOL\n",
    )


@wrong("BC-BUSY-01", role="worker", kills=["test_several_orders_in_one_read"])
def last_order_of_a_read() -> None:
    rewrite(WorkerSide.receive, "            orders.append(order)\n", "            orders[:] = [order]\n")


@wrong("BC-ACCEPT-05", role="worker", kills=["test_orders_are_taken_as_they_come"])
def orders_must_be_in_sequence() -> None:
    rewrite(
        WorkerSide._order,
        "    if frame.listener >= self._listeners:\n",
        (
            "    self._last = getattr(self, '_last', 0) + 1\n"
            "    if frame.order != self._last:\n"
            "        raise Violation('BC-ACCEPT-01', 'out of sequence')\n"
            "    if frame.listener >= self._listeners:\n"
        ),
    )


@wrong("BC-BUSY-01", role="worker", kills=["test_nothing_pending"])
def no_answer_to_an_empty_order() -> None:
    rewrite(
        WorkerSide.answer,
        "    self._queued.append(encode_busy(order.order, accepted, reason, self.open, self.capacity))\n",
        (
            "    if accepted or not order.max:\n"
            "        self._queued.append(encode_busy(order.order, accepted, reason, self.open, self.capacity))\n"
        ),
    )


@wrong("BC-WORK-08", role="worker", kills=["test_responsive_worker_answers_when_full"])
def no_answer_when_full() -> None:
    rewrite(
        WorkerSide.answer,
        "    self._queued.append(encode_busy(order.order, accepted, reason, self.open, self.capacity))\n",
        (
            "    if accepted or self.open < self.capacity:\n"
            "        self._queued.append(encode_busy(order.order, accepted, reason, self.open, self.capacity))\n"
        ),
    )


@wrong("BC-STATUS-01", role="worker", kills=["test_gone_while_others_stay", "test_room_returns_to_a_full_worker"])
def gone_never_sent() -> None:
    rewrite(
        WorkerSide._status,
        "    if figures == self._reported or self._unanswered or self.state in _EARLY:\n",
        "    if figures == self._reported or self._unanswered or self.state in _EARLY or self.open:\n",
    )


@wrong("BC-STATUS-03", role="worker", kills=["test_room_returns_to_a_full_worker"])
def room_of_a_full_worker_untold() -> None:
    rewrite(
        WorkerSide._status,
        "    if figures == self._reported or self._unanswered or self.state in _EARLY:\n",
        "    if figures == self._reported or self._unanswered or self.state in _EARLY or (self.full and self.open):\n",
    )


@wrong("BC-STATUS-02", role="worker", kills=["test_nothing_new_is_not_reported"])
def idle_after_every_empty_busy() -> None:
    rewrite(
        WorkerSide.answer,
        "    self._reported = (self.open, self.capacity)\n",
        "    self._reported = (self.open, self.capacity) if self.open or self.state is WorkerState.GREETED or order.order == 1 else (-1, 0)\n",
    )


@wrong("BC-STATUS-04", role="worker", kills=["test_no_status_between_order_and_answer"])
def status_before_answer() -> None:
    rewrite(
        WorkerSide.answer,
        "    self.open += accepted - ended\n",
        (
            "    self.open += accepted - ended\n"
            "    if accepted and order.order > 1:\n"
            "        self._queued.append(encode_status(self.open, self.capacity))\n"
        ),
    )


@wrong("BC-CHAN-08", role="worker", kills=["test_parent_that_does_not_read"])
def every_status_is_queued() -> None:
    rewrite(
        WorkerSide.ended,
        "    self.open -= count\n",
        (
            "    self.open -= count\n"
            "    if self.open:\n"
            "        self._queued.append(encode_status(self.open, self.capacity))\n"
            "        self._reported = (self.open, self.capacity)\n"
        ),
    )


@wrong("BC-HELLO-01", role="worker", kills=["test_hello_is_first"])
def hello_without_versions() -> None:
    rewrite(
        WorkerSide.hello,
        "self._queued.append(encode(Idle(self.capacity, hello)))",
        "self._queued.append(encode(Idle(self.capacity)))",
    )
