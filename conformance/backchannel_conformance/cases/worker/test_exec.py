"""The exec binding, as a worker meets it."""

from __future__ import annotations

import pytest
from backchannel_conformance import frames, kernel
from backchannel_conformance.errors import check
from backchannel_conformance.exec_binding import variables
from backchannel_conformance.fixtures import Workers
from backchannel_conformance.worker_under_test import HELLO_LIMIT

pytestmark = pytest.mark.classes("exec")

GOOD = variables(0, 1, 1, 30)
BAD = {
    "no variables": ("BC-EXEC-03", {}),
    "no slot": ("BC-EXEC-03", {key: value for key, value in GOOD.items() if key != "BACKCHANNEL_SLOT"}),
    "a slot that is not a number": ("BC-EXEC-13", {**GOOD, "BACKCHANNEL_SLOT": "first"}),
    "a slot with a sign": ("BC-EXEC-13", {**GOOD, "BACKCHANNEL_SLOT": "+0"}),
    "a capacity with a point": ("BC-EXEC-13", {**GOOD, "BACKCHANNEL_CAPACITY": "1.5"}),
    "capacity 0": ("BC-EXEC-13", {**GOOD, "BACKCHANNEL_CAPACITY": "0"}),
    "no listeners": ("BC-EXEC-13", {**GOOD, "BACKCHANNEL_LISTENERS": "0"}),
    "more listeners than descriptors": ("BC-EXEC-15", {**GOOD, "BACKCHANNEL_LISTENERS": "40"}),
    "a deadline that is not a number": ("BC-EXEC-13", {**GOOD, "BACKCHANNEL_DRAIN_DEADLINE": "soon"}),
    "a deadline with an exponent": ("BC-EXEC-13", {**GOOD, "BACKCHANNEL_DRAIN_DEADLINE": "3e1"}),
    "no versions": ("BC-EXEC-03", {key: value for key, value in GOOD.items() if key != "BACKCHANNEL_VERSIONS"}),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.req("BC-EXEC-03", "BC-EXEC-13", "BC-EXEC-15")
def test_worker_refuses_senseless_variables(workers: Workers, what: str) -> None:
    """Something of its environment is missing or senseless: the worker writes nothing and exits with 78."""
    clause, environment = BAD[what]
    worker = workers(environment=environment)
    worker.ended(clause, f"started with {what}: ", HELLO_LIMIT)
    worker.exits(78, clause, why=f"started with {what}: ")


@pytest.mark.parametrize("versions", ["", "new", "1", "1.0-", "1.0-1.1-1.2", "1.1-1.0", "0.9", "1.16", "16.0"])
@pytest.mark.req("BC-EXEC-13")
def test_worker_refuses_senseless_versions(workers: Workers, versions: str) -> None:
    """What stands in BACKCHANNEL_VERSIONS is no version, and no lowest and highest one: exit status 78."""
    worker = workers(environment={**GOOD, "BACKCHANNEL_VERSIONS": versions})
    why = f"started with BACKCHANNEL_VERSIONS={versions!r}: "
    worker.ended("BC-EXEC-13", why, HELLO_LIMIT)
    worker.exits(78, "BC-EXEC-13", why=why)


@pytest.mark.parametrize("versions", ["1.0-1.1", "1.0-15.15"])
@pytest.mark.req("BC-EXEC-06", "BC-VER-04", "BC-HELLO-01")
def test_worker_of_a_later_parent(workers: Workers, versions: str) -> None:
    """A made-up parent of 1.0 and something later welcomes in 1.0: the worker serves, and is drained, in 1.0."""
    worker = workers(environment={**GOOD, "BACKCHANNEL_VERSIONS": versions})
    worker.greet()
    client = worker.client.send("who")
    worker.order(1)
    busy = worker.answer()
    check(busy.accepted == 1, "BC-EXEC-06", f"a parent of {versions} got {busy}")
    client.answer()
    worker.reported(busy)
    worker.half_close()
    worker.ended("BC-DRAIN-12")
    worker.exits(0, "BC-DRAIN-12")


@pytest.mark.parametrize("versions", ["1.1", "2.0-2.1"])
@pytest.mark.req("BC-EXEC-06", "BC-VER-02", "BC-DEATH-05")
def test_worker_of_a_parent_of_another_age(workers: Workers, versions: str) -> None:
    """A made-up parent of later versions alone: the worker says hello as ever, and the end that follows is an end."""
    worker = workers(environment={**GOOD, "BACKCHANNEL_VERSIONS": versions})
    hello = worker.must("BC-EXEC-06", HELLO_LIMIT)
    check(hello.version == frames.VERSION, "BC-VER-02", f"to a parent of {versions} it said {hello.octets.hex()}")
    worker.half_close()
    worker.ended("BC-DEATH-05")
    worker.exits(0, "BC-DEATH-05")


@pytest.mark.req("BC-EXEC-14")
def test_worker_refuses_a_missing_channel(workers: Workers) -> None:
    """There is no descriptor 3: exit status 78."""
    worker = workers(channel=False)
    worker.exits(78, "BC-EXEC-14", HELLO_LIMIT)


@pytest.mark.kernel("kept_at_exec")
@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=pytest.mark.classes("event"))])
@pytest.mark.req("BC-EXEC-05", "BC-FORK-05")
def test_worker_descriptors_end_at_exec(workers: Workers, capacity: int) -> None:
    """All that the worker holds above the standard descriptors is closed on exec."""
    worker = workers.greeted(capacity=capacity)
    kept = kernel.kept_at_exec(worker.pid)
    check(not kept, "BC-EXEC-05", f"descriptors {sorted(kept)} would be passed on to what the worker starts")
