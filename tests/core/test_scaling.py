"""Scaling decisions, one rule at a time, and its bounds under any history."""

from __future__ import annotations

from backchannel import Decision, Memory, Scaling, SlotState, WorkerView, decide
from backchannel.sizing import delayed
from hypothesis import given
from hypothesis import strategies as st

RULES = Scaling(start=2, min=1, max=10, min_spare=2, max_spare=4)


def pool(*workers: tuple[SlotState, int]) -> list[WorkerView]:
    return [
        WorkerView(slot, state, open_, 0 if state is SlotState.STARTING else 1)
        for slot, (state, open_) in enumerate(workers)
    ]


IDLE, HELD, STARTING, DRAINING = (
    (SlotState.READY, 0),
    (SlotState.READY, 1),
    (SlotState.STARTING, 0),
    (SlotState.DRAINING, 1),
)


def passes(workers: list[WorkerView], count: int, scaling: Scaling = RULES) -> list[Decision]:
    """Decisions of passes one period apart, over a pool that does not change."""
    memory, decisions = Memory(), []
    for number in range(count):
        decision, memory = decide(workers, scaling, 1, memory, number * scaling.period)
        decisions.append(decision)
    return decisions


def test_spawn_rate_doubles() -> None:
    scaling = Scaling(start=1, min=1, max=200, min_spare=100, max_spare=150)
    assert [decision.spawn for decision in passes(pool(HELD), 7, scaling)] == [1, 2, 4, 8, 16, 32, 32]


def test_spawns_no_more_than_lacking_and_no_more_than_max() -> None:
    assert [decision.spawn for decision in passes(pool(HELD), 3)] == [1, 2, 2]
    assert [decision.spawn for decision in passes(pool(*[HELD] * 9), 3)] == [1, 1, 1]
    assert passes(pool(*[HELD] * 10), 1) == [Decision()]


def test_starting_counts_as_spare_for_spawning_only() -> None:
    assert passes(pool(HELD, STARTING, STARTING), 1) == [Decision()]
    assert passes(pool(IDLE, IDLE, IDLE, IDLE, STARTING, STARTING), 1) == [Decision()]


def test_retires_the_highest_of_the_idle() -> None:
    assert passes(pool(IDLE, IDLE, IDLE, IDLE, IDLE, HELD), 1) == [Decision(retire=4)]


def test_draining_takes_no_place_but_has_a_cap() -> None:
    many = Scaling(start=2, min=1, max=6, min_spare=2, max_spare=4, max_draining=2)
    assert passes(pool(IDLE, IDLE, IDLE, IDLE, IDLE, DRAINING), 1, many) == [Decision(retire=4)]
    assert passes(pool(IDLE, IDLE, IDLE, IDLE, IDLE, DRAINING, DRAINING), 1, many) == [Decision()]
    assert passes(pool(*[HELD] * 5, DRAINING), 1, many) == [Decision(spawn=1)]


def test_rate_falls_back_when_the_pool_is_not_short() -> None:
    memory = Memory(rate=8, last=0.0)
    _, memory = decide(pool(IDLE, IDLE), RULES, 1, memory, 0.5)
    assert memory.rate == 1


def test_passes_are_a_period_apart() -> None:
    decision, memory = decide(pool(HELD), RULES, 1, Memory(), 5.0)
    assert decision.spawn == 1
    assert decide(pool(HELD), RULES, 1, memory, 5.9)[0] == Decision()
    assert decide(pool(HELD), RULES, 1, memory, 6.0)[0] == Decision(spawn=2)


def test_early_exits_delay_longer_each_time() -> None:
    memory = Memory()
    delays = []
    for number in range(8):
        memory = delayed(memory, RULES, number * 100.0)
        delays.append(memory.not_before - number * 100.0)
    assert delays == [1, 2, 4, 8, 16, 32, 32, 32]
    assert decide(pool(HELD), RULES, 1, memory, memory.not_before - 0.1)[0] == Decision()
    assert decide(pool(HELD), RULES, 1, memory, memory.not_before)[0] == Decision(spawn=1)


views = st.lists(
    st.tuples(
        st.sampled_from([SlotState.STARTING, SlotState.READY, SlotState.SUSPECT, SlotState.DRAINING, SlotState.LOST]),
        st.integers(0, 4),
    ),
    max_size=14,
)


@given(
    views,
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(0, 6),
    st.integers(0, 8),
    st.integers(0, 8),
    st.floats(0, 10),
)
def test_bounds(
    workers: list[tuple[SlotState, int]], capacity: int, least: int, more: int, spare: int, more_spare: int, now: float
) -> None:
    scaling = Scaling(start=least, min=least, max=least + more, min_spare=spare, max_spare=spare + more_spare)
    views = [
        WorkerView(slot, state, min(open_, capacity), 0 if state is SlotState.STARTING else capacity)
        for slot, (state, open_) in enumerate(workers)
    ]
    counting = sum(view.state is not SlotState.DRAINING for view in views)
    decision, _ = decide(views, scaling, capacity, Memory(rate=4), now)
    assert not (decision.spawn and decision.retire is not None)
    assert not decision.spawn or counting + decision.spawn <= scaling.max
    if decision.retire is not None:
        assert counting - 1 >= scaling.min
        left = [view for view in views if view.state is SlotState.READY and view.slot != decision.retire]
        assert sum(view.room for view in left) >= scaling.min_spare
