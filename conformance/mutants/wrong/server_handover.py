"""What is broken in :mod:`backchannel_server.handover`."""

from __future__ import annotations

from backchannel_server.handover import Handover

from . import rewrite, wrong


@wrong("BC-BATON-04", role="pool", kills=["test_workers_do_not_hold_the_baton"])
def workers_keep_the_baton() -> None:
    rewrite(Handover.forget, ("        if baton is not None:\n            baton.close()\n"), "        pass\n")


@wrong("BC-BATON-15", role="pool", kills=["test_successor_that_cannot_start"])
def hands_over_before_the_successor_is_ready() -> None:
    rewrite(
        Handover.start,
        "    self._loop.watch(successor.baton, self._successor_speaks)\n",
        ("    self._loop.watch(successor.baton, self._successor_speaks)\n    self._yielding = True\n"),
    )
