"""The suite's model of a worker, what it makes up for it, and how it makes a failure short."""

from __future__ import annotations

import pytest
from backchannel_conformance import frames
from backchannel_conformance.errors import RequirementViolated
from backchannel_conformance.histories.worker.accepting import results
from backchannel_conformance.histories.worker.generate import generate
from backchannel_conformance.histories.worker.model import WorkerModel
from backchannel_conformance.histories.worker.scenario import Fault, Order, Setting, Write, simpler
from backchannel_conformance.histories.worker.visitor import Visitor

FILLED, EMPTY, PEER, WORKER, SYSTEM, UNUSABLE = range(6)


@pytest.mark.parametrize(
    ("most", "pending", "fault", "descriptors", "expected"),
    [
        (0, 3, None, None, {(0, FILLED)}),
        (2, 3, None, None, {(2, FILLED)}),
        (3, 2, None, None, {(2, EMPTY)}),
        (2, 2, Fault("ECONNABORTED"), None, {(1, PEER)}),
        (3, 1, Fault("ECONNABORTED"), None, {(1, EMPTY)}),
        (3, 3, Fault("ENFILE", 2, 2), None, {(1, SYSTEM)}),
        (2, 2, Fault("EINTR", 1, 3), None, {(2, FILLED)}),
        (2, 2, Fault("EBADF"), None, {(0, UNUSABLE)}),
        (1, 0, Fault("ENFILE"), None, {(0, SYSTEM), (0, EMPTY)}),
        (3, 3, None, 1, {(1, WORKER)}),
    ],
)
def test_what_an_order_may_give(
    most: int, pending: int, fault: Fault | None, descriptors: int | None, expected: set[tuple[int, int]]
) -> None:
    assert results(most, pending, fault, descriptors) == expected


def welcomed(**setting: int) -> WorkerModel:
    """A model whose worker has answered the welcome; one client holds a connection, another one waits."""
    model = WorkerModel(Setting(capacity=4, **setting))
    model.frame(frames.hello(4))
    for name, says in enumerate(("hold\n", "who\n")):
        model.connected(Visitor(name, 0, says))
    model.wrote(frames.accept(1, 1).octets)
    model.frame(frames.busy(1, 1, FILLED, 1, 4))
    return model


@pytest.mark.parametrize(
    ("frame", "rule"),
    [
        (frames.busy(2, 1, EMPTY, 0, 4), "BC-STATUS-01"),
        (frames.busy(2, 0, EMPTY, 1, 4), "BC-WORK-11"),
        (frames.busy(2, 2, FILLED, 3, 4), "BC-BUSY-03"),
        (frames.busy(2, 1, PEER, 2, 4), "BC-BUSY-09"),
        (frames.busy(2, 1, EMPTY, 2, 5), "BC-STATUS-01"),
    ],
)
def test_wrong_answers(frame: frames.Frame, rule: str) -> None:
    model = welcomed()
    model.wrote(frames.accept(2, 2).octets)
    with pytest.raises(RequirementViolated) as violated:
        model.frame(frame)
    assert violated.value.requirement == rule


@pytest.mark.parametrize("open", [1, 2])
def test_an_end_may_be_told_with_the_answer_or_after_it(open: int) -> None:
    model = welcomed()
    model.wrote(frames.accept(2, 2).octets)
    model.frame(frames.busy(2, 1, EMPTY, open, 4))
    due = model.due_frame()
    assert (due is not None) is (open == 2)


@pytest.mark.parametrize(("accepted", "reason"), [(0, WORKER), (1, FILLED)])
def test_what_is_closed_may_have_been_above_the_limit(accepted: int, reason: int) -> None:
    """The limit is a number, not a count: the descriptor of an old connection that has ended may not come back."""
    model = welcomed()
    model.visitors[0].left = "closed"
    model.descriptors = 0
    model.frame(frames.idle(4))
    model.wrote(frames.accept(2, 1).octets)
    model.frame(frames.busy(2, accepted, reason, accepted, 4))
    model.wrote(frames.accept(3, 1).octets)
    with pytest.raises(RequirementViolated, match="BC-ERRNO-03"):
        model.frame(frames.busy(3, 0, PEER, accepted, 4))


def test_what_is_due() -> None:
    model = welcomed()
    model.visitors[0].answers = 1
    assert model.due() is None
    model.wrote(frames.accept(2, 0).octets[:7])
    assert model.due() is None
    model.wrote(frames.accept(2, 0).octets[7:])
    due = model.due()
    assert due is not None
    assert due.requirement == "BC-BUSY-01"
    model.frame(frames.busy(2, 0, FILLED, 1, 4))
    model.visitors[0].left = "half"
    due = model.due()
    assert due is not None
    assert due.requirement == "BC-STATUS-03"


def test_nothing_may_come_after_a_violation() -> None:
    model = welcomed()
    model.wrote(frames.accept(2, 1)._replace(reason=1).octets + frames.accept(3, 1).octets)
    assert (model.violated, model.status, list(model.orders)) == ("BC-FRAME-07", 76, [])
    model.settled()
    with pytest.raises(RequirementViolated, match="BC-FRAME-07"):
        model.frame(frames.busy(3, 1, FILLED, 2, 4))


def test_histories_are_the_same_for_a_seed() -> None:
    first, again = (list(generate(3, 50, 4)) for _ in range(2))
    assert first == again
    assert first != list(generate(4, 50, 4))


def test_simpler_writes() -> None:
    write = Write((Order(3, 1), Order(0)), cuts=(4,), kept=5)
    found = simpler(write)
    assert Write((Order(3, 1), Order(0)), kept=5) in found
    assert Write((Order(0),), cuts=(4,), kept=5) in found
    assert Write((Order(2, 1), Order(0)), cuts=(4,), kept=5) in found
    assert write not in found
