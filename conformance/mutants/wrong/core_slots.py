"""What is broken in :mod:`backchannel.slots`."""

from __future__ import annotations

from backchannel.slots import Slots, Worker

from . import rewrite, wrong


@wrong("BC-STATUS-06", role="parent", kills=["test_idle_worker_errs"])
def empty_status_tolerated() -> None:
    rewrite(
        Worker.report,
        "    if open_ == self.open and capacity == self.capacity and not isinstance(frame, Busy):\n",
        "    if False:\n",
    )


@wrong("BC-BUSY-06", role="parent", kills=["test_ordered_worker_errs"])
def answer_to_another_order() -> None:
    rewrite(Worker._check_answer, "    if order != mine.id:\n", "    if False:\n")


@wrong("BC-CAP-03", role="parent", kills=["test_capacity_after_the_final_zero"])
def retired_worker_comes_back() -> None:
    rewrite(Worker.report, "    if capacity and not self.capacity:\n", "    if False:\n")


@wrong("BC-ORDER-01", role="parent", kills=["test_one_order_at_a_time", "test_reserved_room_is_load"])
def second_order_before_the_answer() -> None:
    rewrite(
        Worker.may_be_chosen,
        "return self.order is None and self.state is SlotState.READY",
        "return self.state is SlotState.READY",
    )


@wrong("BC-ORDER-03", role="parent", kills=["test_no_order_without_room"])
def full_worker_is_probed() -> None:
    rewrite(
        Worker.may_be_chosen,
        "self.state is SlotState.READY and self.capacity > self.open and not self.cooling",
        "self.state is SlotState.READY and not self.cooling",
    )


@wrong("BC-MSG-01", role="parent", kills=["test_room_is_in_the_figures"])
def waits_for_idle() -> None:
    rewrite(
        Worker.report,
        "    self.open, self.capacity = open_, capacity\n",
        (
            "    self.open, self.capacity = open_, capacity\n"
            "    self.cooling = type(frame) is Busy and frame.accepted > 0\n"
        ),
    )


@wrong("BC-MSG-01", role="parent", kills=["test_capacity_that_changes"])
def capacity_of_the_hello_for_ever() -> None:
    rewrite(
        Worker.report,
        "    self.open, self.capacity = open_, capacity\n",
        "    self.open, self.capacity = open_, min(self.capacity, capacity) and self.capacity\n",
    )


@wrong("BC-SCALE-10", role="parent", kills=["test_last_report_of_a_dead_worker"])
def slots_never_reused() -> None:
    rewrite(Slots.remove, "    heapq.heappush(self._free, worker.slot)\n", "")


@wrong("BC-ACCEPT-01", role="parent", kills=["test_welcome_follows_the_hello"])
def order_numbers_skip() -> None:
    rewrite(
        Worker.new_order,
        "self.last_order + 1 if self.last_order < MAX_ORDER_NUMBER else 1",
        "self.last_order + 2 if self.last_order < MAX_ORDER_NUMBER else 1",
    )


@wrong("BC-STATUS-07", role="parent", kills=["test_idle_worker_errs"])
def any_capacity_applied() -> None:
    rewrite(Worker.report, "if frame.capacity > ceiling:", "if False:")


@wrong("BC-ORDER-02", role="parent", kills=["test_lack_of_resources_cools_down"])
def orders_those_in_cool_down() -> None:
    rewrite(Worker.may_be_chosen, "self.capacity > self.open and not self.cooling", "self.capacity > self.open")


@wrong("BC-HELLO-05", role="parent", kills=["test_status_before_the_welcome_is_answered"])
def status_of_a_starting_worker_applied() -> None:
    rewrite(
        Worker.report, "    if self.state is SlotState.STARTING and not isinstance(frame, Busy):\n", "    if False:\n"
    )
