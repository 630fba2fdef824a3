"""What is broken in :mod:`backchannel.reload`."""

from __future__ import annotations

from backchannel.reload import Reload

from . import rewrite, wrong


@wrong("BC-RELOAD-02", role="pool", kills=["test_reload_while_one_hangs"])
def old_worker_goes_as_the_new_one_starts() -> None:
    rewrite(
        Reload.proceed,
        "        drain = old[: len(self._ready)]\n",
        "        drain = old[: len(self._ready) or (0 if self._starting else 1)]\n",
    )


@wrong("BC-RELOAD-04", role="parent", kills=["test_least_loaded_drains_first"])
def drains_in_any_order() -> None:
    rewrite(Reload.proceed, "        old.sort(key=lambda worker: (worker.open + worker.reserved, -worker.slot))\n", "")


@wrong("BC-RELOAD-06", role="parent", kills=["test_nobody_is_retired_meanwhile"])
def retires_during_a_reload() -> None:
    rewrite(Reload.begin, "    self._sizing.hold(True)\n", "")


@wrong("BC-RELOAD-01", role="pool", kills=["test_reload_under_load"])
def reload_leaves_one_out() -> None:
    rewrite(Reload.proceed, "    if len(drain) == len(old):\n", "    if len(drain) >= len(old) - 1:\n")


@wrong("BC-RELOAD-01", role="parent", kills=["test_all_at_once"])
def all_at_once_one_by_one() -> None:
    rewrite(
        Reload.proceed, "if not self._at_once or (not self._starting and len(self._ready) >= len(old)):", "if True:"
    )


@wrong("BC-RELOAD-05", role="pool", kills=["test_generation_that_cannot_start"])
def gives_up_the_old_with_the_new() -> None:
    rewrite(
        Reload.fail,
        "    self._lives.drain_each(self._end(), now)\n",
        ("    self._end()\n    self._lives.drain_each(list(self._lives.workers.values()), now)\n"),
    )


@wrong("BC-RELOAD-05", role="parent", kills=["test_failed_reload_starts_nobody_more"])
def another_newcomer_before_the_first_has_exited() -> None:
    rewrite(
        Reload.changed,
        "worker.state not in (SlotState.STARTING, SlotState.LOST)",
        "worker.state is not SlotState.STARTING",
    )


@wrong("BC-RELOAD-04", role="parent", kills=["test_fewest_connections_drain_first"])
def highest_slot_drains_first() -> None:
    rewrite(Reload.proceed, "(worker.open + worker.reserved, -worker.slot)", "-worker.slot")


@wrong("BC-RELOAD-04", role="parent", kills=["test_fewest_connections_drain_first"])
def least_loaded_drains_first() -> None:
    rewrite(
        Reload.proceed,
        "(worker.open + worker.reserved, -worker.slot)",
        "((worker.open + worker.reserved) / worker.capacity, -worker.slot)",
    )


@wrong("BC-RELOAD-04", role="parent", kills=["test_fewest_connections_drain_first"])
def reserved_is_nothing_to_a_reload() -> None:
    rewrite(Reload.proceed, "(worker.open + worker.reserved, -worker.slot)", "(worker.open, -worker.slot)")


@wrong("BC-RELOAD-11", role="parent", kills=["test_fewest_connections_drain_first"])
def newest_drains_first() -> None:
    rewrite(
        Reload.proceed,
        "(worker.open + worker.reserved, -worker.slot)",
        "(worker.open + worker.reserved, -worker.spawned_at)",
    )


@wrong("BC-PEND-01", role="parent", kills=["test_one_order_for_one_client_during_a_reload"])
def herd_during_a_reload() -> None:
    rewrite(
        Reload.begin,
        "    self._sizing.hold(True)\n",
        "    self._sizing.hold(True)\n"
        "    from .backlog import Backlog\n"
        "    Backlog.wanted = lambda self, pending: (pending, False)\n",
    )


@wrong("BC-RELOAD-13", role="parent", kills=["test_newcomer_that_fails"])
def reload_forgets_the_newcomer_that_was_put_off() -> None:
    rewrite(Reload.proceed, "    self.waiting = lacking > 0 and not may_spawn\n", "")
