"""What is broken in :mod:`backchannel.states`."""

from __future__ import annotations

from backchannel import states

from . import wrong


@wrong("BC-STOP-06", role="pool", kills=["test_stop_on_standby"])
def standby_ignores_a_stop() -> None:
    states.PARENT[states.ParentState.STANDBY][states.ParentEvent.STOP] = None
