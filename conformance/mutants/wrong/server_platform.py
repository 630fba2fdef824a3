"""What is broken in :mod:`backchannel_server.platform`."""

from __future__ import annotations

from backchannel_server.platform import Counts

from . import rewrite, wrong


@wrong("BC-PEND-03", role="parent", kills=["test_without_a_count_one_order_at_a_time"])
def two_without_a_count() -> None:
    rewrite(
        Counts.pending, "    return 1 if _readable(listener) else 0\n", "    return 2 if _readable(listener) else 0\n"
    )


@wrong("BC-PEND-04", role="parent", kills=["test_count_that_says_none"])
def count_of_none_taken_for_true() -> None:
    rewrite(
        Counts.pending,
        "        if count or (count == 0 and not (news and _readable(listener))):\n",
        "        if count is not None:\n",
    )
