"""What is broken in :mod:`backchannel.dispatch`."""

from __future__ import annotations

from backchannel.dispatch import Dispatch

from . import rewrite, wrong


@wrong("BC-ACCEPT-03", role="parent", kills=["test_max_of_an_order"])
def room_over_capacity() -> None:
    rewrite(
        Dispatch._order_one,
        "most = min(share, worker.room, self._settings.max_per_order)",
        "most = min(share, self._settings.max_per_order)",
    )


@wrong("BC-PICK-03", role="parent", kills=["test_fair_share"])
def first_come_takes_all() -> None:
    rewrite(Dispatch._order_one, "share = -(-wanted // self._candidates.count)", "share = wanted")


@wrong("BC-PICK-04", role="parent", kills=["test_orders_rotate_over_listeners"])
def first_listener_first() -> None:
    rewrite(Dispatch._order_one, "    self.next_listener = (listener + 1) % len(self.backlogs)\n", "")


@wrong("BC-SHORT-01", role="parent", kills=["test_forgiven_when_the_queue_was_empty"])
def never_forgiven() -> None:
    rewrite(Dispatch._seen_empty, "        worker.passed_over.discard(listener)\n", "")


@wrong("BC-SHORT-02", role="parent", kills=["test_three_short_answers_cool_down"])
def short_answers_never_cool_down() -> None:
    rewrite(
        Dispatch._fell_short,
        "        rows[order.listener] = rows.get(order.listener, 0) + 1\n",
        "        rows[order.listener] = 0\n",
    )


@wrong("BC-SHORT-02", role="parent", kills=["test_peer_is_nobodys_fault"])
def peer_counts() -> None:
    rewrite(
        Dispatch._fell_short,
        "not busy.accepted and reason is not Reason.PEER and not order.expired",
        "not busy.accepted and not order.expired",
    )


@wrong("BC-SHORT-03", role="parent", kills=["test_lack_of_resources_cools_down"])
def worker_never_cools_down() -> None:
    rewrite(Dispatch._fell_short, "if reason is Reason.WORKER or rows", "if rows")


@wrong(
    "BC-SHORT-03", role="parent", kills=["test_others_go_on_while_one_cools_down", "test_lack_of_resources_cools_down"]
)
def listener_never_cools_down() -> None:
    rewrite(Dispatch._fell_short, "        backlog.cooling = True\n", "")


@wrong("BC-SILENT-01", role="parent", kills=["test_order_expires", "test_answer_before_the_deadline"])
def expired_too_early() -> None:
    rewrite(Dispatch._order_one, "now + self._settings.order_deadline * 2**doublings", "now + 0.005")


@wrong("BC-SILENT-04", role="parent", kills=["test_late_answer_counts"])
def stale_slots_report_applied() -> None:
    rewrite(
        Dispatch.answered,
        ("    if order.expired:\n        self._counters.late += busy.accepted\n"),
        ("    if order.expired:\n        worker.open -= busy.accepted\n        self._counters.late += busy.accepted\n"),
    )


@wrong("BC-SILENT-02", role="parent", kills=["test_deadline_doubles"])
def deadline_never_doubles() -> None:
    rewrite(Dispatch.expired, "    self._expired_in_row += 1\n", "")


@wrong("BC-DEATH-02", role="parent", kills=["test_order_of_a_dead_worker"])
def order_outlives_its_worker() -> None:
    rewrite(Dispatch._lost, "        self.backlogs[order.listener].ended(order)\n", "")


@wrong("BC-WATCH-03", role="pool", kills=["test_listeners_take_turns"])
def pool_room_returns_unseen() -> None:
    rewrite(
        Dispatch.changed, "    if had_none and candidates.count and not self.edges:\n", "    if had_none and False:\n"
    )


@wrong("BC-PICK-04", role="pool", kills=["test_listeners_take_turns"])
def pool_first_listener_first() -> None:
    rewrite(Dispatch._order_one, "    self.next_listener = (listener + 1) % len(self.backlogs)\n", "")


@wrong("BC-DEATH-02", role="pool", kills=["test_death_before_accept", "test_killed_as_it_accepts"])
def pool_order_outlives_its_worker() -> None:
    rewrite(Dispatch._lost, "        self.backlogs[order.listener].ended(order)\n", "")


@wrong("BC-ACCEPT-02", role="parent", kills=["test_welcome_follows_the_hello"])
def welcome_for_listener_1() -> None:
    rewrite(Dispatch.welcome, "worker.new_order(0, 0)", "worker.new_order(1, 0)")


@wrong("BC-ROOM-02", role="parent", kills=["test_order_expires"])
def coverage_for_ever() -> None:
    rewrite(Dispatch.expired, "    self.backlogs[order.listener].expired(order)\n", "    pass\n")


@wrong("BC-SHORT-02", role="parent", kills=["test_series_belongs_to_a_listener"])
def series_over_all_listeners() -> None:
    rewrite(
        Dispatch._fell_short,
        "or rows.get(order.listener, 0) >= self._settings.short_in_a_row",
        "or sum(rows.values()) >= self._settings.short_in_a_row",
    )


@wrong("BC-SHORT-02", role="parent", kills=["test_part_of_an_order_breaks_the_series"])
def part_of_an_order_counts() -> None:
    rewrite(Dispatch._fell_short, "not busy.accepted and reason is not Reason.PEER", "reason is not Reason.PEER")


@wrong("BC-SHORT-01", role="parent", kills=["test_late_short_answer_is_passed_over"])
def late_short_answer_forgiven() -> None:
    rewrite(
        Dispatch._fell_short,
        "    worker.passed_over.add(order.listener)\n",
        ("    if not order.expired:\n        worker.passed_over.add(order.listener)\n"),
    )
