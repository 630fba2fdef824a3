"""Histories: what a step leads to is told from what it does not lead to, and a parent with a fault is found out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from backchannel import Parent, Scaling, Settings
from backchannel.trace import record
from backchannel_conformance import frames, manifest
from backchannel_conformance.histories.parent import chart, states, trial
from backchannel_conformance.histories.parent.compare import Beliefs, TooMany, threads_of
from backchannel_conformance.histories.parent.play import SLOW, Abandoned, Deviation, Player, model_of
from backchannel_conformance.histories.parent.puppet import Puppet
from backchannel_conformance.histories.parent.scenario import Line, Scenario
from backchannel_conformance.histories.parent.seen import Seen
from backchannel_conformance.histories.parent.states import state_of
from backchannel_conformance.histories.parent.vectors import scenario_of, vector_of
from backchannel_conformance.histories.plan import CHUNK, Plan
from backchannel_conformance.model import Model, check_trace
from backchannel_conformance.waiting import until

ROOT = Path(__file__).parents[2]
MUTATE = str(ROOT / "conformance" / "mutants" / "mutate.py")
DISPATCH = ROOT / "reference" / "core" / "backchannel" / "dispatch.py"
TWO = {"start": 2, "min": 2, "max": 2, "pass": 0.02}
OPTIONS = {"start": "2", "min": "2", "max": "2", "capacity": "4", "max_per_order": "16", "order_deadline": "600"}


def greet(slot: int, capacity: int = 1) -> list[Line]:
    """Hello, and the answer to the welcome."""
    said: list[list[Line]] = [[{"type": "HELLO", "capacity": capacity}], [{"type": "BUSY", "accepted": 0}]]
    return [{"do": "write", "slot": slot, "frames": one} for one in said]


SHARED = [*greet(0, 4), *greet(1, 4), {"do": "connect", "count": 4}]
"""Four clients for two workers: each gets two (BC-PICK-03)."""


# ------------------------------------------------------------------------------------------- comparing


def nothing(_do: str, _slot: int) -> bool:
    """Everything can be seen."""
    return False


class Pool:
    """Beliefs about a parent of two workers of capacity 1, and a clock."""

    def __init__(self, **settings: Any) -> None:
        self.beliefs = Beliefs(Model({"start_deadline": 600, **settings}, TWO))
        self.now = 100.0
        assert self.step([{"in": "start"}], spawn(0), spawn(1))

    def step(self, inputs: Sequence[Line], *seen: Line, pending: int = 0, asleep: float | None = None) -> bool:
        """Whether the model can have done ``seen``. If so, that is what it has done."""
        begun, self.now = self.now, self.now + 0.01
        found = Seen.of(seen, nothing)
        ways = self.beliefs.explain(begun, asleep or self.now, self.now, inputs, [{0: pending}], found)
        if ways:
            self.beliefs.keep(ways, begun, self.now)
        return bool(ways)

    def ready(self) -> None:
        """Both workers have answered the welcome."""
        for slot in (0, 1):
            assert self.step([received(slot, frames.hello(1))], send(slot, 1, 0))
            assert self.step([received(slot, frames.busy(1, 0, frames.FILLED, 0, 1))])


def spawn(slot: int) -> Line:
    return {"out": "Spawn", "slot": slot}


def send(slot: int, order: int, most: int) -> Line:
    return {"out": "Send", "slot": slot, "data": frames.accept(order, most).octets.hex()}


def received(slot: int, frame: frames.Frame) -> Line:
    return {"in": "received", "slot": slot, "data": frame.octets.hex()}


def test_what_follows_is_explained_and_nothing_else() -> None:
    pool = Pool()
    hello = [received(0, frames.hello(1))]
    assert not pool.step(hello), "a welcome is due"
    assert not pool.step(hello, send(1, 1, 0)), "to another worker"
    assert not pool.step(hello, send(0, 1, 0), send(0, 2, 0)), "and nothing besides"
    assert pool.step(hello, send(0, 1, 0))
    assert not pool.step([], {"out": "Kill", "slot": 0})


def test_any_order_of_reading_is_one() -> None:
    """A connection and an answer at once: whoever is chosen depends on what is read first."""
    both = [received(0, frames.idle(0)), {"in": "readable", "listener": 0}]
    for slot, order in ((0, 2), (1, 2)):
        pool = Pool()
        pool.ready()
        seen = [send(slot, order, 1), {"out": "HalfClose", "slot": 0}, spawn(2)]
        assert pool.step(both, *seen, pending=1), f"slot {slot} is ordered before or after slot 0 retires"
    pool = Pool()
    pool.ready()
    assert not pool.step(both, {"out": "HalfClose", "slot": 0}, spawn(2), pending=1), "somebody is ordered"


def test_a_deadline_is_early_or_late_or_in_time() -> None:
    def silent() -> Pool:
        pool = Pool(order_deadline=1.0)
        pool.ready()
        assert pool.step([{"in": "readable", "listener": 0}], send(0, 2, 1), pending=1)
        return pool

    again = send(1, 2, 1)
    pool = silent()
    pool.now += 0.9
    assert not pool.step([], again, pending=1), "before its time"
    pool = silent()
    pool.now += 1.2
    assert pool.step([], again, pending=1)
    pool = silent()
    pool.now += 1.05
    assert pool.step([], pending=1), "it may be on its way"
    pool.now += 0.5
    assert not pool.step([], pending=1), "it has slept through it"
    assert pool.step([], again, pending=1)


def test_what_is_read_when_a_deadline_may_have_passed() -> None:
    """The parent's clock is known to some milliseconds: it may have read an answer in time, or too late."""
    for seen in ([], [send(1, 2, 1)]):
        pool = Pool(order_deadline=1.0)
        pool.ready()
        pool.beliefs.slack = 0.2
        assert pool.step([{"in": "readable", "listener": 0}], send(0, 2, 1), pending=1)
        pool.now += 1.05
        assert pool.step([received(0, frames.busy(2, 1, frames.FILLED, 1, 1))], *seen, pending=len(seen))


def test_a_killed_worker_exits_and_is_replaced_in_the_same_step() -> None:
    pool = Pool()
    pool.ready()
    pool.now += 6  # its exit is not early any more
    bad = [received(1, frames.busy(9, 1, frames.FILLED, 1, 1))]
    assert pool.step(bad, {"out": "Kill", "slot": 1})
    assert pool.beliefs.model.pool.workers.keys() == {0}


def test_a_pass_that_has_nothing_to_do_is_not_put_off_for_ever() -> None:
    pool = Pool()
    pool.ready()
    assert pool.step([received(1, frames.busy(9, 1, frames.FILLED, 1, 1))], {"out": "Kill", "slot": 1})
    pool.now += 1.02
    assert pool.step([], spawn(1)), "it was early"
    pool.now += 0.02
    assert pool.step([received(1, frames.hello(1))], send(1, 1, 0))
    assert len(pool.beliefs.models) == 2, "the next pass may act by now, or not"
    pool.now += 1
    assert pool.step([received(1, frames.busy(1, 0, frames.FILLED, 0, 1))])
    assert len(pool.beliefs.models) == 1


@pytest.mark.parametrize(("slack", "outcome"), [(0.02, Deviation), (SLOW + 0.1, Abandoned)])
def test_nothing_is_late_where_nobody_knows_when_it_was_due(slack: float, outcome: type[Exception]) -> None:
    """An order has expired, and nobody else is ordered."""
    pool = Pool(order_deadline=1.0)
    pool.ready()
    assert pool.step([{"in": "readable", "listener": 0}], send(0, 2, 1), pending=1)
    pool.beliefs.slack = slack
    asleep = pool.now + 1.9
    stage = SimpleNamespace(settle=lambda: asleep, look=list, hides=nothing, stuck=str, grace=0.0, pending={0: 1})
    player = Player.__new__(Player)
    player.stage, player.beliefs, player.story, player._pending = stage, pool.beliefs, [], {0: 1}  # type: ignore[assignment]
    with pytest.raises(outcome):
        player._explain({"do": "wait"}, pool.now, [], pool.now + 1.6)


def test_lines_of_one_worker_keep_their_order() -> None:
    one, two, three = received(0, frames.hello()), {"in": "eof", "slot": 1}, {"in": "exited", "slot": 0, "status": 0}
    assert sorted(map(len, threads_of([one, two, three]))) == [1, 2]
    assert (one, three) in threads_of([one, two, three])


def test_what_is_far_ahead_makes_no_two_beliefs_of_one() -> None:
    """Whenever the hello was read: the worker has an hour for the next thing, and its age is that of its spawn."""
    for deadline, alike in ((3600.0, True), (1.0, False)):
        models = []
        for now in (100.0, 100.5):
            model = Model({"silence_deadline": deadline, "order_deadline": 0.1, "start_deadline": 3600.0}, TWO)
            model.turn(now, [{"in": "start"}])
            for inputs in ([received(0, frames.hello(1))], [received(0, frames.busy(1, 0, frames.FILLED, 0, 1))]):
                model.turn(now + 0.01, inputs)
            model.turn(now + 0.02, [{"in": "readable", "listener": 0}], {0: 1})
            model.turn(now + 1)
            models.append(model)
        (one, times), (other, others) = map(state_of, models)
        assert models[0].pool.workers[0].state == "SUSPECT"
        assert one == other
        assert states.alike(times, others) is alike


def test_too_many_beliefs_say_nothing() -> None:
    pool = Pool()
    with pytest.raises(TooMany):
        pool.beliefs.keep([SimpleNamespace()] * 1000, 0.0, 0.0)  # type: ignore[list-item]


# ------------------------------------------------------------------------------------------- scenarios


def test_a_scenario_is_written_and_read(tmp_path: Path) -> None:
    scenario = Scenario(OPTIONS, SHARED, 7)
    path = tmp_path / "scenario.json"
    path.write_text(scenario.dumps())
    assert Scenario.load(path) == scenario
    assert json.loads(path.read_text())["steps"][-1] == {"do": "connect", "count": 4}


def test_the_plan_covers_what_is_asked_for() -> None:
    assert len(Plan(seed=5, histories=4 * CHUNK).seeds) == 4
    assert list(Plan(seed=5, histories=1).seeds) == [5]


# -------------------------------------------------------------------------------------- a real parent


def changed(folder: Path, old: str, new: str) -> manifest.Manifest:
    """The sync reference with a piece of its dispatch changed."""
    source = DISPATCH.read_text()
    assert source.count(old) == 1
    path = folder / "dispatch.py"
    path.write_text(source.replace(old, new))
    sync = manifest.find("sync")
    role = sync.roles["parent"]
    line = role.command()
    command = (line[0], MUTATE, f"backchannel.dispatch={path}", *line[1:])
    return replace(sync, roles={"parent": replace(role, commands={"command": command})})


@contextmanager
def playing(target: manifest.Manifest, scenario: Scenario, folder: Path) -> Iterator[Player]:
    player = Player(target, scenario, folder / "log")
    try:
        for step in scenario.steps:
            assert player.step(step)
        yield player
    finally:
        player.close()


def test_the_reference_does_not_deviate(tmp_path: Path) -> None:
    with playing(manifest.find("sync"), Scenario(OPTIONS, SHARED), tmp_path) as player:
        step, _, seen, *_ = player.story[-1]
    assert step["do"] == "connect"
    assert sorted(line["slot"] for line in seen) == [0, 1]


def test_what_was_played_is_a_vector(tmp_path: Path) -> None:
    """The model's own trace of it: it holds for the core, and is a scenario again."""
    scenario = Scenario(OPTIONS, SHARED)
    with playing(manifest.find("sync"), scenario, tmp_path) as player:
        model = model_of(manifest.find("sync"), OPTIONS, 1, edges=True)
        vector = vector_of(model, player.story, "four clients", "BC-PICK-03")
    header, *lines = vector["trace"]
    assert check_trace(json.dumps(line) + "\n" for line in vector["trace"]) == len(vector["trace"])
    parent = Parent(Settings(**header["settings"]), Scaling(**header["scaling"]), header["listeners"])
    parent._dispatch.edges = True
    made: list[str] = []
    record(parent, made.append)
    for line in (line for line in lines if "in" in line):
        arguments = {name: value for name, value in line.items() if name != "in"}
        if "data" in line:
            arguments["data"] = bytes.fromhex(line["data"])
        if "counts" in line:
            arguments["counts"] = {int(name): pending for name, pending in line["counts"].items()}
        getattr(parent, line["in"])(**arguments)
        if line["in"] == "scale":
            parent.take_actions()
    sends = [line for line in map(json.loads, made) if line.get("out") == "Send"]
    assert sends == [line for line in lines if line.get("out") == "Send"]
    with playing(manifest.find("sync"), scenario_of(vector["trace"]), tmp_path) as player:
        assert len(player.story) > len(SHARED)


def test_a_fault_is_found_and_shown(tmp_path: Path) -> None:
    greedy = changed(tmp_path, "most = min(share, worker.room,", "most = min(wanted, worker.room,")
    with pytest.raises(Deviation) as caught, playing(greedy, Scenario(OPTIONS, SHARED), tmp_path):
        pass
    assert caught.value.clause == "BC-PICK-03"
    shown = chart.show(caught.value)
    assert "4 clients connect to listener 0" in shown
    assert "P -> W0   ACCEPT order=2 listener=0 max=4" in shown
    assert "expected in the last step: ACCEPT order=2 listener=0 max=2 to worker 0" in shown


def test_a_puppet_that_is_slow_says_nothing_of_the_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with playing(manifest.find("sync"), Scenario(OPTIONS), tmp_path) as player:
        monkeypatch.setattr(Puppet, "has_gone", lambda puppet: until(bool, 0, what="the puppet to exit"))
        with pytest.raises(Abandoned, match="the puppet to exit"):
            player.step({"do": "exit", "slot": 0})


def test_how_a_parent_watches_is_asked_once(tmp_path: Path) -> None:
    assert trial.watches_edges(manifest.find("sync"), tmp_path)
    assert trial.watches_edges(manifest.find("sync"), tmp_path / "is-not-there")
