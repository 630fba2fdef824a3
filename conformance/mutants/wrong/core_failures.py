"""What is broken in :mod:`backchannel.failures`."""

from __future__ import annotations

from backchannel.failures import Failures

from . import rewrite, wrong


@wrong("BC-SCALE-39", role="parent", kills=["test_worker_of_another_age", "test_nobody_can_start"])
def hopeless_workers_respawned() -> None:
    rewrite(
        Failures._hopeless,
        ("    elif not self._gave_up:\n        self._gave_up = True\n"),
        ("    elif not self._gave_up:\n        self._sizing.delay_spawning(now)\n        return\n"),
    )


@wrong("BC-SCALE-32", role="parent", kills=["test_exit_after_serving_is_not_early"])
def every_exit_is_early() -> None:
    rewrite(Failures.exited, "early = not worker.accepted and now", "early = now")


@wrong("BC-SCALE-41", role="parent", kills=["test_one_cannot_start_any_more"])
def gives_up_on_a_serving_pool() -> None:
    rewrite(
        Failures.exited,
        "    hopeless = status in NEVER_AGAIN\n",
        ("    hopeless = status in NEVER_AGAIN\n    if hopeless:\n        self._lives.ever_ready = 0\n"),
    )


@wrong("BC-LOSS-02", role="pool", kills=["test_worker_that_exits_is_replaced"])
def one_death_takes_another() -> None:
    rewrite(
        Failures.exited,
        ("    if expected:\n        return\n"),
        (
            "    if expected:\n"
            "        return\n"
            "    for other in list(self._lives.workers.values()):\n"
            "        if other.state is SlotState.READY:\n"
            "            self.violated(other, 'as well', now)\n"
        ),
    )


@wrong("BC-RELOAD-05", role="pool", kills=["test_generation_that_cannot_start"])
def reload_goes_on_for_ever() -> None:
    rewrite(
        Failures._hopeless,
        "        if self._reload.active and newest and not worker.was_ready:\n",
        "        if False:\n",
    )


@wrong("BC-RELOAD-05", role="parent", kills=["test_newcomer_that_was_ready"])
def newcomer_that_was_ready_ends_the_reload() -> None:
    rewrite(Failures._hopeless, "newest and not worker.was_ready:", "newest:")


@wrong("BC-RELOAD-05", role="parent", kills=["test_old_worker_says_nothing_of_the_new_ones"])
def old_workers_death_ends_the_reload() -> None:
    rewrite(
        Failures._hopeless, "        newest = worker.generation == self._reload.current\n", "        newest = True\n"
    )


@wrong("BC-SCALE-41", role="parent", kills=["test_worker_of_another_age_among_others"])
def another_age_ends_the_pool() -> None:
    rewrite(
        Failures.of_another_version,
        "    self._hopeless(worker, PROTOCOL, text, now)\n",
        "    self._actions.append(GiveUp(76, text))\n",
    )


@wrong("BC-SCALE-33", role="parent", kills=["test_exit_of_a_drained_worker_is_not_early"])
def drained_workers_exit_early() -> None:
    rewrite(
        Failures.exited,
        "    if expected:\n        return\n",
        "    if expected:\n        if early:\n            self._sizing.delay_spawning(now)\n        return\n",
    )


@wrong("BC-SCALE-34", role="parent", kills=["test_violation_before_serving_is_an_early_exit"])
def violations_cost_nothing() -> None:
    rewrite(Failures.violated, "    if not worker.accepted:\n", "    if False:\n")
