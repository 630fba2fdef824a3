"""What the suite makes up for a pool, and that playing it finds pools that are wrong."""

from __future__ import annotations

import pytest
from backchannel_conformance.histories.pool.scenario import MOST, STEPS, histories


def test_the_same_seed_makes_the_same_histories() -> None:
    first, again, other = (list(histories(seed, 20, 3, reload=True)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert all(len(steps) == STEPS for steps in first)


@pytest.mark.parametrize("reload", [True, False])
def test_what_is_made_up_can_be_played(reload: bool) -> None:
    """Clients are used only while they are there, one worker is stopped at a time, and a pool is reloaded whole."""
    seen = set()
    for steps in histories(1, 300, 3, reload=reload):
        clients: set[int] = set()
        frozen = False
        for step in steps:
            seen.add(step.what)
            assert str(step)
            match step.what:
                case "hold":
                    clients.add(step.number)
                case "again" | "kill holder":
                    assert step.number in clients
                case "release" | "reset":
                    clients.remove(step.number)
                case "freeze":
                    assert not frozen
                    assert step.number < 3
                    frozen = True
                case "thaw" | "kill stopped":
                    assert frozen
                    frozen = False
                case "reload":
                    assert not frozen
            assert len(clients) <= MOST
    assert ("reload" in seen) == reload
    assert {"kill server", "kill holder", "stop parent", "freeze", "thaw", "kill stopped", "burst"} <= seen
