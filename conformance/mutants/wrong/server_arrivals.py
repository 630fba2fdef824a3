"""What is broken in :mod:`backchannel_server.arrivals`."""

from __future__ import annotations

from backchannel_server.arrivals import Arrivals

from . import rewrite, wrong


@wrong("BC-PEND-02", role="parent", kills=["test_no_blind_order_when_room_returns"])
def reservation_released_at_the_order() -> None:
    rewrite(
        Arrivals.pending,
        ("    news.clear()\n    return counts\n"),
        (
            "    news.clear()\n"
            "    old = getattr(self, 'old', {})\n"
            "    self.old = {**old, **counts}\n"
            "    counts = {index: max(count, old.get(index, 0)) for index, count in counts.items()}\n"
            "    return counts\n"
        ),
    )


@wrong("BC-FORK-03", role="pool", kills=["test_silent_worker_is_replaced"])
def inherited_poller_modified() -> None:
    rewrite(
        Arrivals.forget,
        "        self.watch.forget()\n",
        "        (self.watch.close if self._core.ever_ready >= self._core.scaling.start else self.watch.forget)()\n",
    )


@wrong("BC-WATCH-03", role="parent", kills=["test_no_blind_order_when_room_returns"])
def blind_order_when_room_returns() -> None:
    rewrite(
        Arrivals.pending,
        "self._counts.pending(index, index in news) for",
        "max(1, self._counts.pending(index, index in news)) for",
    )
