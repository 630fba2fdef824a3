"""What is broken in :mod:`backchannel.parent`."""

from __future__ import annotations

from backchannel.parent import Parent

from . import rewrite, wrong


@wrong("BC-HELLO-06", role="parent", kills=["test_welcome_follows_the_hello"])
def welcome_before_hello() -> None:
    rewrite(
        Parent.start,
        "        self._lives.spawn(self._reload.current, now)\n",
        "        self._dispatch.welcome(self._lives.spawn(self._reload.current, now))\n",
    )


@wrong("BC-STOP-01", role="parent", kills=["test_stop_orders_what_is_pending"])
def stop_drops_the_backlog() -> None:
    rewrite(Parent._settle, "        if self._dispatch.exhausted:\n", "        if True:\n")


@wrong("BC-STOP-07", role="parent", kills=["test_stop_deadline"])
def stop_without_deadline() -> None:
    rewrite(Parent.stop, "        self._deadlines.set(self._stop_deadline, now + self.settings.stop_deadline)\n", "")


@wrong("BC-STOP-02", role="parent", kills=["test_nobody_is_replaced_while_stopping"])
def stopping_pool_spawns() -> None:
    rewrite(
        Parent.scale,
        ("    if self.state not in SIZING:\n        return\n"),
        ("    if self.state not in (*SIZING, ParentState.STOPPING):\n        return\n"),
    )


@wrong("BC-STOP-04", role="parent", kills=["test_stop_does_not_wait_for_who_starts"])
def stop_waits_for_who_starts() -> None:
    rewrite(
        Parent._drain_all, "            self._dismiss(worker, now)\n", "            self._lives.drain(worker, now)\n"
    )


@wrong("BC-SCALE-26", role="pool", kills=["test_never_below_min"])
def retires_two_at_once() -> None:
    rewrite(
        Parent.scale,
        "        self.counters.retired += 1\n",
        (
            "        self.counters.retired += 2\n"
            "        ready = [w for w in self.workers.values() if w.state is SlotState.READY and w.slot != decision.retire]\n"
            "        self._lives.drain(ready[0], now)\n"
        ),
    )


@wrong("BC-SILENT-01", role="pool", kills=["test_stopped_worker", "test_silent_worker_is_replaced"])
def orders_never_expire() -> None:
    rewrite(
        Parent.judge,
        ("                self._dispatch.expired(worker)\n                self._lives.suspect(worker, now)\n"),
        "",
    )


@wrong("BC-STOP-01", role="pool", kills=["test_stop_serves_the_backlog"])
def pool_stop_drops_the_backlog() -> None:
    rewrite(Parent._settle, "        if self._dispatch.exhausted:\n", "        if True:\n")


@wrong("BC-SCALE-11", role="pool", kills=["test_killed_worker_takes_its_own_only"])
def two_for_one_that_died() -> None:
    rewrite(
        Parent.scale,
        "    for _ in range(decision.spawn):\n",
        "    for _ in range(decision.spawn and decision.spawn + self.counters.deaths):\n",
    )


@wrong("BC-SCALE-01", role="parent", kills=["test_start_is_spawned_at_once"])
def starts_with_one() -> None:
    rewrite(Parent.start, "    for _ in range(self.scaling.start):\n", "    for _ in range(1):\n")


@wrong("BC-WATCH-07", role="parent", kills=["test_first_order_after_room_returns"])
def arrivals_forgotten_while_all_are_full() -> None:
    rewrite(
        Parent.readable,
        "    self.backlogs[listener].dirty = True\n",
        "    self.backlogs[listener].dirty = self._dispatch.has_candidate\n",
    )


@wrong("BC-RELOAD-07", role="pool", kills=["test_reload_while_one_hangs"])
def second_reload_waits_for_the_first() -> None:
    rewrite(
        Parent.reload,
        "    if not self._step(ParentEvent.RELOAD):\n",
        "    if self._reload.active or not self._step(ParentEvent.RELOAD):\n",
    )


@wrong("BC-BATON-05", role="pool", kills=["test_nobody_is_replaced_during_the_hand_over"])
def yielding_pool_spawns() -> None:
    rewrite(
        Parent.scale,
        ("    if self.state not in SIZING:\n        return\n"),
        ("    if self.state not in (*SIZING, ParentState.YIELDING):\n        return\n"),
    )


@wrong("BC-WAIT-03", role="parent", kills=["test_parent_sleeps_in_every_state"])
def spins_while_somebody_is_suspect() -> None:
    rewrite(
        Parent.next_deadline,
        "    first = self._deadlines.next()\n",
        "    first = self._deadlines.next()\n"
        "    if any(worker.state is SlotState.SUSPECT for worker in self.workers.values()):\n"
        "        return 0.0\n",
    )


@wrong("BC-HELLO-04", role="parent", kills=["test_welcome_comes_at_once"])
def reports_wait_for_half_a_second() -> None:
    rewrite(
        Parent.received,
        "    self._reports.read(self.workers[slot], data, now)\n",
        "    import time\n\n    time.sleep(0.5)\n    self._reports.read(self.workers[slot], data, now)\n",
    )
