"""What is broken in :mod:`backchannel.sizing`."""

from __future__ import annotations

from backchannel import sizing
from backchannel.sizing import Sizing, Totals

from . import rewrite, wrong


@wrong("BC-SCALE-12", role="parent", kills=["test_early_exits_delay_spawning", "test_one_cannot_start_any_more"])
def early_exits_cost_nothing() -> None:
    rewrite(
        sizing.delayed,
        "        not_before=max(memory.not_before, now + _back_off(scaling, memory.early_exits)),\n",
        "",
    )


@wrong("BC-SCALE-21", role="parent", kills=["test_spawning_doubles"])
def scaling_off_by_one() -> None:
    rewrite(
        sizing.lacking,
        "    return max(scaling.min - totals.counting, by_spare, 0)\n",
        "    return max(scaling.min - totals.counting, by_spare and by_spare + 1, 0)\n",
    )


@wrong("BC-SCALE-02", role="parent", kills=["test_spawning_doubles"])
def starting_workers_are_no_spare() -> None:
    rewrite(sizing.spare, "    return totals.room + totals.starting * capacity\n", "    return totals.room\n")


@wrong("BC-SCALE-08", role="parent", kills=["test_growth_ends_at_max"])
def one_above_max() -> None:
    rewrite(
        sizing.short,
        "return lacks and totals.counting < scaling.max",
        "return lacks and totals.counting <= scaling.max",
    )
    rewrite(sizing.decide, "scaling.max - totals.counting)", "scaling.max + 1 - totals.counting)")


@wrong("BC-SCALE-27", role="parent", kills=["test_retirement_goes_from_the_top"])
def lowest_slot_retires() -> None:
    rewrite(sizing.decide, "(worker.load, -worker.slot)", "(worker.load, worker.slot)")


@wrong("BC-SCALE-27", role="parent", kills=["test_retirement_counts_what_is_reserved"])
def retires_with_an_order_under_way() -> None:
    rewrite(sizing.decide, "(worker.load, -worker.slot)", "(worker.open, -worker.slot)")


@wrong("BC-SCALE-29", role="parent", kills=["test_retirement_leaves_min_spare"])
def retires_the_last_spare() -> None:
    rewrite(sizing.decide, "        if totals.room - victim.room >= scaling.min_spare:\n", "        if True:\n")


@wrong("BC-SCALE-09", role="parent", kills=["test_draining_workers_take_no_place", "test_retiring_worker_is_drained"])
def draining_workers_count() -> None:
    rewrite(Totals.add, ("        self.draining += sign\n        return\n"), "        self.draining += sign\n")


@wrong("BC-SCALE-27", role="pool", kills=["test_shrinks_when_idle"])
def pool_lowest_slot_retires() -> None:
    rewrite(sizing.decide, "(worker.load, -worker.slot)", "(worker.load, worker.slot)")


@wrong("BC-SCALE-27", role="pool", kills=["test_retires_the_least_loaded"])
def retires_the_most_loaded() -> None:
    rewrite(sizing.decide, "victim = min(ready", "victim = max(ready")


@wrong("BC-SCALE-14", role="pool", kills=["test_no_process_for_a_worker", "test_no_descriptor_for_a_channel"])
def never_tries_to_start_again() -> None:
    rewrite(
        Sizing.could_not_start,
        "    self._no_start_before = now + _back_off(self._scaling, self._failures)\n",
        "    self._no_start_before = now + 1e6\n",
    )


@wrong("BC-SCALE-18", role="parent", kills=["test_growth_ends_at_max"])
def max_never_reached() -> None:
    rewrite(
        sizing.short,
        "return lacks and totals.counting < scaling.max",
        "return lacks and totals.counting < scaling.max - 1",
    )


@wrong("BC-SCALE-22", role="parent", kills=["test_spawning_doubles"])
def spawn_rate_rises_by_one() -> None:
    rewrite(
        sizing.decide,
        "rate = min(memory.rate * 2, scaling.spawn_rate_ceiling)",
        "rate = min(memory.rate + 1, scaling.spawn_rate_ceiling)",
    )


@wrong("BC-SCALE-24", role="parent", kills=["test_spawn_rate_falls_back"])
def spawn_rate_never_falls() -> None:
    rewrite(sizing.decide, "memory = replace(memory, rate=1)", "pass")
    rewrite(Sizing.decide, "self._memory = replace(self._memory, rate=1)", "pass")


@wrong("BC-SCALE-17", role="parent", kills=["test_who_starts_is_no_spare_for_retiring"])
def who_starts_is_spare_for_retiring() -> None:
    rewrite(
        sizing.surplus,
        "totals.room > scaling.max_spare",
        "0 < totals.room and totals.room + totals.starting > scaling.max_spare",
    )


@wrong("BC-SCALE-17", role="parent", kills=["test_suspect_is_no_spare_for_retiring"])
def suspect_is_spare_for_retiring() -> None:
    rewrite(
        Totals.add,
        "    elif state is SlotState.READY:\n",
        "    elif state in (SlotState.READY, SlotState.SUSPECT):\n",
    )


@wrong("BC-SCALE-27", role="parent", kills=["test_highest_slot_retires_and_not_the_newest"])
def newest_retires() -> None:
    rewrite(
        Sizing.decide,
        "    decision, self._memory = decide(",
        "    for view, worker in zip(views, self._workers.values(), strict=True):\n"
        "        Sizing.ages = {**getattr(Sizing, 'ages', {}), view.slot: worker.spawned_at}\n"
        "    decision, self._memory = decide(",
    )
    rewrite(sizing.decide, "(worker.load, -worker.slot)", "(worker.load, -Sizing.ages[worker.slot])")


@wrong("BC-SCALE-43", role="parent", kills=["test_failed_starts_delay_spawning"])
def failed_starts_are_tried_again_each_second() -> None:
    rewrite(sizing.Sizing.could_not_start, "    self._failures += 1\n", "")
