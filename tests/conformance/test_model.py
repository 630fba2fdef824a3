"""The model as histories use it: a whole pass at a time, led by stimuli alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from backchannel_conformance import frames
from backchannel_conformance.model import Action, Deviation, Model

FIXED = {"start": 1, "min": 1, "max": 1, "min_spare": 0, "max_spare": 100}


def wrote(slot: int, *reports: frames.Frame) -> dict[str, Any]:
    return {"in": "received", "slot": slot, "data": b"".join(report.octets for report in reports).hex()}


def model(count: int = 1, settings: Mapping[str, Any] | None = None, listeners: int = 1, **choices: Any) -> Model:
    """A model of a parent with ``count`` workers, all of them READY, at time 0."""
    scaling = {**FIXED, "start": count, "min": count, "max": count, **choices.pop("scaling", {})}
    it = Model(settings, scaling, listeners, **choices)
    capacity = (settings or {}).get("capacity", 1)
    it.turn(0.0, [{"in": "start"}])
    it.turn(0.0, [wrote(slot, frames.hello(capacity)) for slot in range(count)])
    it.turn(0.0, [wrote(slot, frames.busy(1, 0, frames.FILLED, 0, capacity)) for slot in range(count)])
    see_all(it)
    return it


def see_all(it: Model) -> list[str]:
    """Everything that is due comes; as text."""
    seen = list(it.pool.due)
    for action in seen:
        it.saw(action)
    it.settled()
    return [str(action) for action in seen]


def order(slot: int, number: int, most: int = 1, listener: int = 0) -> Action:
    return Action("Send", slot, number, listener, most)


def test_different_workers_in_any_order_and_one_worker_in_its_own() -> None:
    it = model(2)
    it.turn(1.0, [{"in": "readable", "listener": 0}], {0: 2})
    other = it.copy()
    it.saw(order(1, 2))
    it.saw(order(0, 2))
    it.settled()
    # a report of capacity 0 behind the answer: nothing more goes to that worker but the half-close
    other.turn(1.1, [wrote(0, frames.busy(2, 1, frames.FILLED, 1, 1), frames.gone(1, 0))], {0: 1})
    with pytest.raises(Deviation, match="BC-PICK-01: expected ACCEPT order=2"):
        other.saw(Action("HalfClose", 0))
    other.saw(order(0, 2))
    other.saw(Action("HalfClose", 0))


def test_message_names_the_clause_and_both_sides() -> None:
    it = model(2)
    it.turn(1.0, [{"in": "readable", "listener": 0}], {0: 1})
    with pytest.raises(Deviation) as caught:
        it.saw(order(1, 2))
    assert str(caught.value) == (
        "BC-PEND-05, BC-PICK-01: expected ACCEPT order=2 listener=0 max=1 to worker 0, "
        "but there came ACCEPT order=2 listener=0 max=1 to worker 1"
    )
    with pytest.raises(Deviation, match=r"BC-PEND-05, BC-PICK-01: ACCEPT order=2 .* was due, but it was not done"):
        it.settled()


def test_copies_are_apart() -> None:
    it = model(1, {"capacity": 2})
    before = it.copy()
    it.turn(1.0, [{"in": "readable", "listener": 0}], {0: 2})
    assert see_all(it) == ["ACCEPT order=2 listener=0 max=2 to worker 0"]
    assert not before.turn(1.0, [], {0: 0})
    assert before.pool.workers[0].order is None


def test_times_at_which_time_alone_does_something() -> None:
    it = model(1, {"order_deadline": 0.5})
    assert it.next_time() is None
    it.turn(1.0, [{"in": "readable", "listener": 0}], {0: 1})
    see_all(it)
    assert it.next_time() == 1.5
    assert not it.turn(1.5, [], {0: 1})
    assert it.pool.workers[0].state == "SUSPECT"
    assert it.next_time() == 31.5
    it.turn(31.5, [], {0: 1})
    assert see_all(it) == ["SIGKILL to worker 0 and the end of its channel"]
    it.turn(32.0, [{"in": "exited", "slot": 0, "status": -9}], {0: 1})
    assert see_all(it) == ["a spawn in slot 0"]


def test_retirement_may_come_and_after_a_pass_must() -> None:
    it = model(3, scaling={"min": 1, "max_spare": 1})
    assert it.may() == [Action("HalfClose", 2)]
    other = it.copy()
    it.saw(Action("HalfClose", 2))
    assert it.may() == []
    assert other.next_time() == 1.0
    other.turn(1.0)
    assert see_all(other) == ["a half-close of the channel of worker 2 (its drain)"]


def test_a_parent_that_does_not_scale_replaces_a_drained_worker_early_or_late() -> None:
    it = model(2, scales=False)
    it.turn(1.0, [wrote(1, frames.idle(0))])
    assert see_all(it) == ["a half-close of the channel of worker 1 (its drain)"]
    late = it.copy()
    it.saw(Action("Spawn", 2))
    it.settled()
    assert it.may() == []
    late.turn(2.0, [{"in": "exited", "slot": 1, "status": 0}])
    assert late.may() == [Action("Spawn", 1)]
    late.settled()
    late.turn(4.0)
    assert see_all(late) == ["a spawn in slot 1"]


def test_without_counts_one_order_at_a_time() -> None:
    it = model(2, counted=False, edges=False)
    it.turn(1.0, [{"in": "readable", "listener": 0}], {0: 2})
    assert see_all(it) == ["ACCEPT order=2 listener=0 max=1 to worker 0"]
    assert not it.turn(1.05, [], {0: 2})
    it.turn(1.08, [wrote(0, frames.busy(2, 1, frames.FILLED, 1, 1))], {0: 1}, lazy=True)
    assert see_all(it) == ["ACCEPT order=2 listener=0 max=1 to worker 1"]


def test_level_triggered_watch_may_miss_what_comes_while_an_order_is_unanswered() -> None:
    it = model(2, edges=False)
    it.turn(1.0, [{"in": "readable", "listener": 0}], {0: 1})
    see_all(it)
    blind = it.copy()
    assert not blind.turn(1.05, [{"in": "readable", "listener": 0}], {0: 2}, lazy=True)
    it.turn(1.05, [{"in": "readable", "listener": 0}], {0: 2})
    assert see_all(it) == ["ACCEPT order=2 listener=0 max=1 to worker 1"]


def test_any_worker_with_room_may_be_probed() -> None:
    it = model(1)
    it.saw(order(0, 2, most=0))
    with pytest.raises(Deviation, match="nothing was to be done, but there came ACCEPT order=3"):
        it.saw(order(0, 3, most=0))


@pytest.mark.parametrize("at_once", [False, True])
def test_reload(at_once: bool) -> None:
    it = model(2)
    it.turn(5.0, [{"in": "reload", "at_once": at_once}])
    spawns = ["a spawn in slot 2", "a spawn in slot 3"]
    assert see_all(it) == spawns[: 1 + at_once]
    it.turn(5.1, [wrote(2, frames.hello())])
    see_all(it)
    it.turn(5.2, [wrote(2, frames.busy(1, 0, frames.FILLED, 0, 1))])
    drains = ["a half-close of the channel of worker 1 (its drain)"]
    assert see_all(it) == ([] if at_once else drains)
    assert it.may() == ([] if at_once else [Action("Spawn", 3)])  # a step of a reload may count as a pass that acts
    assert it.next_time() == (35.0 if at_once else 6.2)


def test_hand_over_closes_the_baton_before_anybody_is_drained() -> None:
    it = model(1, {"capacity": 2})
    it.turn(1.0, [{"in": "readable", "listener": 0}], {0: 1})
    see_all(it)
    assert not it.turn(1.05, [{"in": "hand_over"}, {"in": "readable", "listener": 0}], {0: 2})
    it.turn(1.08, [wrote(0, frames.busy(2, 1, frames.FILLED, 1, 2))], {0: 1})
    with pytest.raises(Deviation, match="BC-BATON-02: expected the close of the baton"):
        it.saw(Action("HalfClose", 0))
    assert see_all(it)[0] == "the close of the baton"
    assert it.state == "DRAINING"


def test_parent_that_gives_up_does_nothing_more_that_matters() -> None:
    it = Model({}, FIXED)
    it.turn(0.0, [{"in": "start"}])
    see_all(it)
    it.turn(0.1, [{"in": "exited", "slot": 0, "status": 78}])
    it.saw(Action("GiveUp", status=78))
    it.saw(Action("Kill", 0))
    it.settled()
