"""What is broken in :mod:`backchannel.candidates`."""

from __future__ import annotations

from backchannel import candidates
from backchannel.candidates import Candidates

from . import rewrite, wrong


@wrong("BC-PICK-02", role="parent", kills=["test_policy_with_unequal_workers"])
def least_open_not_least_loaded() -> None:
    rewrite(candidates._least_loaded, "return (worker.open << 64) // worker.capacity", "return worker.open")


@wrong("BC-PICK-01", role="parent", kills=["test_policy_with_unequal_workers"])
def highest_slot() -> None:
    rewrite(candidates._lowest, "    return worker.slot\n", "    return -worker.slot\n")


@wrong("BC-SHORT-01", role="parent", kills=["test_short_answer_is_passed_over"])
def never_passed_over() -> None:
    rewrite(Candidates.best, "        elif listener not in worker.passed_over:\n", "        elif True:\n")


@wrong(
    "BC-PICK-01",
    role="pool",
    kills=["test_lowest_slot", "test_lowest_slot_at_capacity_3", "test_one_after_another_stay_on_few"],
)
def pool_highest_slot() -> None:
    rewrite(candidates._lowest, "    return worker.slot\n", "    return -worker.slot\n")


@wrong("BC-PICK-02", role="pool", kills=["test_least_loaded"])
def pool_most_loaded() -> None:
    rewrite(
        candidates._least_loaded,
        "return (worker.open << 64) // worker.capacity",
        "return -((worker.open << 64) // worker.capacity)",
    )


@wrong("BC-RULE-01", role="pool", kills=["test_lowest_slot"])
def choice_by_chance() -> None:
    rewrite(
        candidates._lowest, "    return worker.slot\n", ("    import random\n\n    return random.randrange(1000)\n")
    )


@wrong("BC-SHORT-07", role="parent", kills=["test_all_are_available_again"])
def one_is_available_again() -> None:
    rewrite(
        Candidates.best,
        "        for entry in aside:\n            workers",
        "        for entry in aside[:1]:\n            workers",
    )
