"""The trace of a real parent is what the specification leads to; and a trace that is not is told apart."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backchannel import Busy, Parent, Reason, Scaling, Settings, encode
from backchannel.trace import INPUTS, QUERIES, record
from backchannel_conformance.model import Deviation, Replay, check_trace
from world import World

ROOT = Path(__file__).parents[2]


def test_traces_of_a_real_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "backchannel_conformance", "run", "--impl", "sync", "--no-controls"]
    command += ["--traces", str(tmp_path / "traces"), "--report", str(tmp_path / "report")]
    wanted = "test_lowest or test_worker_that_exits or test_least_loaded"
    done = subprocess.run([*command, "--", "-k", wanted], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    [said] = [line for line in done.stdout.splitlines() if line.startswith("traces: ")]
    count, lines = int(said.split()[1]), int(said.split()[3])
    assert count >= 3
    assert lines > 50 * count
    assert said.endswith(" 0 deviate from the specification")


def test_every_input_is_recorded_or_a_query() -> None:
    public = {
        name
        for part in Parent.__mro__[:-1]
        for name, value in vars(part).items()
        if not name.startswith("_") and (callable(value) or isinstance(value, property))
    }
    assert public == set(INPUTS) | QUERIES
    assert {"received", "exited", "judge", "dispatch", "scale"} <= set(INPUTS)


def story() -> list[str]:
    """Two workers, four connections, an expired order and its late answer, a death."""
    world = World(Settings(), Scaling.fixed(2))
    world.greet_all()
    world.connect()
    world.answer(0)
    world.connect()
    world.wait(0.1)
    world.end(0)
    world.answer(1)
    world.connect()
    world.workers[0].orders.clear()
    world.write(0, encode(Busy(3, 0, Reason.EMPTY, 0, 1)))
    world.exit(1)
    return world.trace


def test_story_is_right() -> None:
    trace = story()
    assert check_trace(trace) == len(trace) > 40


def after(kind: str, number: int, change: Callable[[dict[str, Any]], None]) -> list[str]:
    """The story with one line changed."""
    lines = [json.loads(line) for line in story()]
    found = [line for line in lines if line.get("out", line.get("in")) == kind]
    change(found[number])
    return [json.dumps(line) + "\n" for line in lines]


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        (lambda: after("Send", -1, lambda line: line.update(slot=7)), "expected"),
        (lambda: after("Send", 2, lambda line: line.update(data=line["data"].replace("1041", "1042"))), "expected"),
        (lambda: after("Send", -1, lambda line: line.update(out="Kill")), "expected"),
        (lambda: after("Spawn", 0, lambda line: line.update(slot=1)), "expected"),
        (lambda: after("dispatch", 7, lambda line: line.update(counts={})), "BC-PEND-02"),
        (lambda: [line for line in story() if '"out": "Send"' not in line], "was not done"),
        (lambda: [*story(), '{"out": "Spawn", "slot": 9}\n'], "nothing was to be done"),
    ],
    ids=["another worker", "another frame", "another action", "another slot", "P not read", "nothing sent", "too many"],
)
def test_deviation_is_found(trace: Callable[[], list[str]], said: str) -> None:
    with pytest.raises(Deviation, match=said):
        check_trace(trace())


def two_kills() -> list[str]:
    """Two workers that never say hello: their deadlines fall together."""
    world = World(Settings(), Scaling.fixed(2))
    world.wait(30.0)
    return world.trace


def test_kills_of_one_pass_may_come_in_any_order() -> None:
    trace = two_kills()
    kills = [at for at, line in enumerate(trace) if '"out": "Kill"' in line]
    assert kills[1:] == [kills[0] + 2]  # each after its note
    other = list(trace)
    other[kills[0]], other[kills[1]] = trace[kills[1]], trace[kills[0]]
    assert check_trace(trace) == check_trace(other) == len(trace)
    with pytest.raises(Deviation, match="expected"):
        check_trace([trace[kills[1]] if at == kills[0] else line for at, line in enumerate(trace)])


def test_event_that_cannot_happen_is_found() -> None:
    replay = Replay(json.loads(story()[0]))
    replay.told({"in": "start", "now": 0.0})
    replay.told({"in": "exited", "slot": 0, "status": 0, "now": 1.0})
    with pytest.raises(Deviation, match="there is none"):
        replay.told({"in": "exited", "slot": 0, "status": 0, "now": 1.0})


def test_line_cut_by_a_kill_is_no_deviation() -> None:
    trace = story()
    assert check_trace([*trace, '{"in": "recei']) == len(trace) + 1


def test_a_parent_that_is_not_recorded_is_untouched() -> None:
    parent = Parent(Settings(), Scaling.fixed(1))
    assert not set(INPUTS) & vars(parent).keys()
    lines: list[str] = []
    record(parent, lines.append)
    assert set(INPUTS) <= vars(parent).keys()
