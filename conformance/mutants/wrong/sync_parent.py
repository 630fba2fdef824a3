"""What is broken in :mod:`backchannel_sync.parent`."""

from __future__ import annotations

from backchannel_sync.parent import Batching, Pool, SelectorLoop

from . import rewrite, wrong


@wrong("BC-PASS-01", role="parent", kills=["test_reports_come_before_dispatch"])
def dispatch_before_reading() -> None:
    rewrite(
        SelectorLoop.wait,
        "    for key, _mask in self.selector.select(timeout):\n",
        (
            "    events = self.selector.select(timeout)\n"
            "    driver = self.driver\n"
            "    if driver.core.ever_ready > 2:\n"
            "        driver.core.dispatch({0: driver.arrivals._counts.pending(0, False)})\n"
            "    for key, _mask in events:\n"
        ),
    )
    rewrite(
        Pool.__init__,
        "    self._batching = Batching(self.driver, self._loop)\n",
        ("    self._batching = Batching(self.driver, self._loop)\n    self._loop.driver = self.driver\n"),
    )


@wrong("BC-WAIT-03", role="pool", kills=["test_saturated_parent_sleeps"])
def spins_while_saturated() -> None:
    rewrite(
        SelectorLoop.wait,
        "    for key, _mask in self.selector.select(timeout):\n",
        "    for key, _mask in self.selector.select(0):\n",
    )


@wrong(
    "BC-WAIT-03",
    role="pool",
    kills=["test_idle_parent_sleeps", "test_parent_sleeps_on_an_order", "test_saturated_parent_sleeps"],
)
def looks_every_millisecond() -> None:
    rewrite(
        SelectorLoop.wait,
        "    for key, _mask in self.selector.select(timeout):\n",
        "    for key, _mask in self.selector.select(0.001):\n",
    )


@wrong("BC-WAIT-04", role="pool", kills=["test_parent_wakes_at_most_three_times"])
def wakes_thrice_for_each_event() -> None:
    rewrite(
        SelectorLoop.wait,
        "    for key, _mask in self.selector.select(timeout):\n",
        (
            "    events = self.selector.select(timeout)\n"
            "    time.sleep(0.0001)\n"
            "    time.sleep(0.0001)\n"
            "    time.sleep(0.0001)\n"
            "    for key, _mask in events:\n"
        ),
    )
    rewrite(
        Batching.wait,
        "    watch.sleep(self.REPORTS_WAIT)\n",
        (
            "    watch.sleep(self.REPORTS_WAIT)\n    time.sleep(0.0001)\n    time.sleep(0.0001)\n    time.sleep(0.0001)\n"
        ),
    )


@wrong("BC-FORK-05", role="pool", kills=["test_worker_descriptors"])
def inherited_poller_kept() -> None:
    rewrite(Pool._forget, "    platform.forget(self._loop.selector)\n", "")


@wrong("BC-PASS-02", role="pool", kills=["test_stopped_parent_punishes_nobody"])
def judges_before_it_reads() -> None:
    rewrite(
        SelectorLoop.wait,
        "    for key, _mask in self.selector.select(timeout):\n",
        (
            "    events = self.selector.select(timeout)\n"
            "    driver = self.driver\n"
            "    driver.core.judge(time.monotonic())\n"
            "    for key, _mask in events:\n"
        ),
    )
    rewrite(
        Pool.__init__,
        "    self._batching = Batching(self.driver, self._loop)\n",
        ("    self._batching = Batching(self.driver, self._loop)\n    self._loop.driver = self.driver\n"),
    )


@wrong("BC-STOP-01", role="pool", kills=["test_stop_when_idle", "test_stop_finishes_what_is_held"])
def clean_stop_is_status_3() -> None:
    rewrite(
        Pool.run,
        "return INTERRUPTED if driver.interrupted else 0\n",
        "return INTERRUPTED if driver.interrupted else 3\n",
    )
