"""The exec binding, as a worker finds it."""

from __future__ import annotations

import re

import pytest
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents

pytestmark = pytest.mark.classes("exec")

VERSIONS = r"1\.0(-([1-9]|1[0-5])\.([0-9]|1[0-5]))?"
"""One that speaks 1.0, and perhaps something later: BC-EXEC-12 says which numbers there are."""


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.classes("listeners"))])
@pytest.mark.req("BC-EXEC-01", "BC-EXEC-07", "BC-EXEC-08", "BC-FORK-05", "BC-FORK-07", "BC-CHAN-10")
def test_descriptors_of_a_program(parents: Parents, count: int) -> None:
    """The channel at 3, the listeners after it, and nothing else, in each of three workers."""
    parent = parents(start=3, min=3, max=3, listen=",".join(["127.0.0.1:0"] * count))
    for _ in range(3):
        stub = parent.stub()
        expected = [(fd, "socket") for fd in range(3, 4 + count)]
        check(stub.descriptors == expected, "BC-EXEC-08", f"slot {stub.slot} found {stub.descriptors}")
        check(len(set(stub.addresses)) == count, "BC-EXEC-07", f"slot {stub.slot} listens on {stub.addresses}")


@pytest.mark.req("BC-EXEC-02", "BC-EXEC-09", "BC-EXEC-10", "BC-EXEC-11", "BC-EXEC-12", "BC-EXEC-17", "BC-FORK-08")
def test_variables_of_a_program(parents: Parents) -> None:
    """The five variables, in decimal, and no other one of the prefix, though the parent itself was given one."""
    parent = parents(start=2, min=2, max=2, capacity=7, drain_deadline=2.5)
    for slot in range(2):
        stub = parent.stub()
        found = dict(stub.variables)
        versions = found.pop("BACKCHANNEL_VERSIONS", "")
        deadline = found.pop("BACKCHANNEL_DRAIN_DEADLINE", "")
        expected = {
            "BACKCHANNEL_SLOT": str(stub.slot),
            "BACKCHANNEL_CAPACITY": "7",
            "BACKCHANNEL_LISTENERS": "1",
        }
        check(found.keys() == expected.keys(), "BC-EXEC-17", f"worker {slot} found {stub.variables}")
        check(found == expected, "BC-FORK-08", f"worker {slot} found {stub.variables}")
        check(
            re.fullmatch(r"[0-9]+(\.[0-9]+)?", deadline) is not None and float(deadline) == 2.5,
            "BC-EXEC-09",
            f"drain_deadline is 2.5, the variable says {deadline!r}",
        )
        check(re.fullmatch(VERSIONS, versions) is not None, "BC-EXEC-10", f"versions are {versions!r}")


@pytest.mark.req("BC-EXEC-04", "BC-EXEC-16")
def test_signals_of_a_program(parents: Parents) -> None:
    """Nothing is blocked when the program starts, and nothing ignored."""
    stub = parents(start=1, min=1, max=1).stub()
    check(not stub.blocked, "BC-EXEC-16", f"signals {stub.blocked} are blocked")
    check(not stub.ignored, "BC-EXEC-04", f"signals {stub.ignored} are ignored")
