"""How a parent learns of arrivals, and how often it counts them."""

from __future__ import annotations

import selectors

from backchannel.dispatch import Dispatch
from backchannel_server import platform
from backchannel_server.arrivals import Arrivals

from . import allowed, put


def waits_with(selector: type[selectors.BaseSelector]) -> None:
    """A poller that can watch no edges."""
    put(platform, "selector_class", lambda poller: selector)


@allowed("BC-WATCH-05", roles=["parent", "pool"], advice=["BC-WATCH-04"])
def by_level_with_poll() -> None:
    waits_with(selectors.PollSelector)


@allowed("BC-WATCH-05", roles=["parent", "pool"], advice=["BC-WATCH-04"])
def by_level_with_select() -> None:
    waits_with(selectors.SelectSelector)


@allowed("BC-PEND-03", roles=["parent", "pool"], without=["counted"])
def without_a_count() -> None:
    """The system gives no count: one order at a time."""
    put(platform.native, "count", lambda listener: None)


@allowed("BC-PEND-03", roles=["parent", "pool"], without=["counted"], advice=["BC-WATCH-04"])
def without_count_or_edges() -> None:
    without_a_count()
    by_level_with_poll()


@allowed("BC-PEND-02", roles=["parent", "pool"])
def counts_in_every_pass() -> None:
    put(
        Dispatch,
        "to_count",
        lambda self, *, to_the_end: [index for index, backlog in enumerate(self.backlogs) if not backlog.cooling],
    )


@allowed("BC-WATCH-04", roles=["parent", "pool"], advice=["BC-WATCH-04"])
def counts_after_every_answer() -> None:
    """Whatever the edges say, the count is read again whenever something in flight has ended."""
    start = Arrivals.start

    def unsure(self: Arrivals) -> None:
        start(self)
        self._core.edges = False

    put(Arrivals, "start", unsure)
