"""What is broken in :mod:`backchannel.backlog`."""

from __future__ import annotations

from backchannel.backlog import Backlog

from . import rewrite, wrong


@wrong("BC-PEND-01", role="parent", kills=["test_one_client_one_order"])
def orders_everyone() -> None:
    rewrite(Backlog.wanted, "    unordered = pending - self.in_flight\n", "    unordered = pending\n")


@wrong(
    "BC-PEND-05", role="parent", kills=["test_orders_do_not_wait_for_each_other", "test_stopped_worker_delays_nobody"]
)
def one_order_at_a_time() -> None:
    rewrite(
        Backlog.wanted,
        "    unordered = pending - self.in_flight\n",
        "    unordered = 0 if self.in_flight else min(pending, 1)\n",
    )


@wrong("BC-PICK-09", role="parent", kills=["test_max_of_an_order"])
def pending_without_what_is_in_flight() -> None:
    rewrite(Backlog.wanted, "        return unordered - self.owed, False\n", "        return pending, False\n")


@wrong("BC-SILENT-03", role="parent", kills=["test_owed_connections_one_at_a_time"])
def all_expired_at_once() -> None:
    rewrite(
        Backlog.wanted,
        (
            "    if unordered > self.owed:\n"
            "        # those that are owed come last: a worker that wakes late may still take them (BC-SILENT-06)\n"
            "        return unordered - self.owed, False\n"
        ),
        ("    if unordered > 0:\n        return unordered, False\n"),
    )


@wrong("BC-PEND-01", role="pool", kills=["test_orders_equal_connections", "test_no_herd_with_any_poller"])
def pool_orders_everyone() -> None:
    rewrite(Backlog.wanted, "    unordered = pending - self.in_flight\n", "    unordered = pending\n")


@wrong("BC-WATCH-02", role="pool", kills=["test_others_are_served_meanwhile"])
def pool_one_order_at_a_time() -> None:
    rewrite(
        Backlog.wanted,
        "    unordered = pending - self.in_flight\n",
        "    unordered = 0 if self.in_flight else min(pending, 1)\n",
    )


@wrong("BC-HERD-03", role="pool", kills=["test_orders_equal_connections"])
def orders_one_too_many() -> None:
    rewrite(
        Backlog.wanted,
        "unordered = pending - self.in_flight\n",
        "unordered = pending + (pending > 0) - self.in_flight\n",
    )


@wrong("BC-PICK-09", role="parent", kills=["test_what_is_owed_has_no_share"])
def owed_connections_are_shared() -> None:
    rewrite(Backlog.wanted, "        return unordered - self.owed, False\n", "        return unordered, False\n")


@wrong("BC-SILENT-06", role="parent", kills=["test_what_is_owed_has_no_share"])
def owed_connections_first() -> None:
    rewrite(
        Backlog.wanted,
        "    if unordered > self.owed:\n",
        "    if unordered > self.owed and (self.retrying or not self.owed):\n",
    )
