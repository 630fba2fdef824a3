"""What is broken in :mod:`backchannel_server.accepting`."""

from __future__ import annotations

import errno
import os
import signal

from backchannel_server import accepting

from . import rewrite, wrong


@wrong("BC-WORK-09", role="worker", kills=["test_no_order_no_accept"])
def probe_accepts() -> None:
    rewrite(accepting.attempt, "for _ in range(order.max):", "for _ in range(max(1, order.max)):")


@wrong("BC-WORK-04", role="worker", kills=["test_order_is_filled", "test_fewer_pending_than_ordered"])
def never_accepts() -> None:
    rewrite(
        accepting.attempt,
        "    taken: list[tuple[socket.socket, Any]] = []\n",
        (
            "    taken: list[tuple[socket.socket, Any]] = []\n"
            "    return taken, Reason.EMPTY if order.max else Reason.FILLED\n"
        ),
    )


@wrong("BC-BUSY-03", role="worker", kills=["test_nothing_pending", "test_fewer_pending_than_ordered"])
def busy_before_accept() -> None:
    rewrite(
        accepting.attempt,
        "return taken, Reason.FILLED if len(taken) == order.max else failed",
        "return taken + [(socket.socket(), None) for _ in range(order.max - len(taken))], Reason.FILLED",
    )


@wrong("BC-WORK-03", role="worker", kills=["test_nothing_pending", "test_listener_flags_are_left_alone"])
def accept_blocks() -> None:
    rewrite(
        accepting.attempt,
        "    for _ in range(order.max):\n",
        ("    listeners[order.listener].setblocking(True)\n    for _ in range(order.max):\n"),
    )


@wrong("BC-BUSY-09", role="worker", kills=["test_fewer_pending_than_ordered"])
def filled_if_any() -> None:
    rewrite(
        accepting.attempt,
        "return taken, Reason.FILLED if len(taken) == order.max else failed",
        "return taken, Reason.FILLED if taken or not order.max else failed",
    )


@wrong("BC-WORK-02", role="worker", kills=["test_no_more_than_ordered"])
def drain_all_accept_loop() -> None:
    rewrite(accepting.attempt, "for _ in range(order.max):", "for _ in range(order.max and 1000):")


@wrong("BC-ACCEPT-09", role="worker", kills=["test_order_above_room"])
def order_cut_to_room() -> None:
    rewrite(accepting.attempt, "for _ in range(order.max):", "for _ in range(min(order.max, 2)):")


@wrong("BC-EXEC-07", role="worker", kills=["test_order_names_its_listener"])
def always_the_first_listener() -> None:
    rewrite(accepting.attempt, "listeners[order.listener].accept()", "listeners[0].accept()")


@wrong("BC-ERRNO-03", role="worker", kills=["test_worker_is_out_of_descriptors"])
def emfile_is_the_systems() -> None:
    del accepting._BY_ERRNO[errno.EMFILE]


@wrong("BC-ERRNO-06", role="worker", kills=["test_listener_that_does_not_listen"])
def unknown_errno_is_empty() -> None:
    rewrite(
        accepting.reason_for,
        "return _BY_ERRNO.get(number or 0, Reason.UNUSABLE)",
        "return _BY_ERRNO.get(number or 0, Reason.EMPTY)",
    )


@wrong("BC-CHAN-05", role="worker", kills=["test_signal_in_the_middle"])
def eintr_ends_the_worker() -> None:
    signal.signal(signal.SIGCONT, lambda _number, _frame: os._exit(1))


@wrong("BC-CHAN-14", role="worker", kills=["test_parent_gone_while_holding"])
def dies_of_sigpipe() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


@wrong("BC-ERRNO-04", role="pool", kills=["test_worker_without_descriptors", "test_accept_fails"])
def every_error_is_for_good() -> None:
    rewrite(
        accepting.reason_for, "    return _BY_ERRNO.get(number or 0, Reason.UNUSABLE)\n", "    return Reason.UNUSABLE\n"
    )


@wrong("BC-ERRNO-02", role="worker", kills=["test_connection_that_went_away"])
def client_that_went_away_is_the_workers_doing() -> None:
    rewrite(
        accepting.reason_for,
        "    return _BY_ERRNO.get(number or 0, Reason.UNUSABLE)\n",
        (
            "    reason = _BY_ERRNO.get(number or 0, Reason.UNUSABLE)\n"
            "    return Reason.WORKER if reason is Reason.PEER else reason\n"
        ),
    )
