"""The worker's side: what it writes, when, and what it never writes."""

from __future__ import annotations

import pytest
from backchannel import PROTOCOL, Accept, Busy, Gone, Idle, Reason, Violation, WorkerSide, decode, encode
from backchannel.frames import FRAME_SIZE
from backchannel.states import WorkerState
from hypothesis import given
from hypothesis import strategies as st


def drain(side: WorkerSide) -> list[object]:
    """Write everything; return the frames."""
    data = side.outgoing()
    side.sent(len(data))
    return [decode(data[at : at + FRAME_SIZE]) for at in range(0, len(data), FRAME_SIZE)]


def serving(capacity: int = 1, listeners: int = 1) -> WorkerSide:
    side = WorkerSide(capacity, listeners)
    side.hello()
    drain(side)
    (order,) = side.receive(encode(Accept(1, 0, 0)))
    side.answer(order, 0, Reason.FILLED)
    assert drain(side) == [Busy(1, 0, Reason.FILLED, 0, capacity)]
    return side


def take(side: WorkerSide, order: int, accepted: int, most: int = 1) -> None:
    (frame,) = side.receive(encode(Accept(order, 0, most)))
    side.answer(frame, accepted, Reason.FILLED if accepted == most else Reason.EMPTY)


def test_one_connection() -> None:
    side = serving()
    take(side, 2, 1)
    assert drain(side) == [Busy(2, 1, Reason.FILLED, 1, 1)]
    assert side.full
    side.ended()
    assert drain(side) == [Idle(1)]
    assert drain(side) == []


def test_no_idle_after_a_busy_that_says_it() -> None:
    side = serving()
    take(side, 2, 0)
    assert drain(side) == [Busy(2, 0, Reason.EMPTY, 0, 1)]


def test_ends_are_reported_together() -> None:
    side = serving(4)
    take(side, 2, 3, 3)
    drain(side)
    side.ended(2)
    assert drain(side) == [Gone(1, 4)]


def test_nothing_between_hello_and_welcome() -> None:
    side = WorkerSide(2)
    side.hello()
    drain(side)
    side.set_capacity(3)
    assert side.outgoing() == b""
    take(side, 1, 0, 0)
    assert drain(side) == [Busy(1, 0, Reason.FILLED, 0, 3)]


def test_no_status_between_order_and_answer() -> None:
    side = serving(2)
    take(side, 2, 1)
    drain(side)
    (order,) = side.receive(encode(Accept(3, 0, 1)))
    side.ended()
    assert side.outgoing() == b""
    side.answer(order, 1, Reason.FILLED)
    assert drain(side) == [Busy(3, 1, Reason.FILLED, 1, 2)]


def test_order_that_crossed_a_cut_is_attempted() -> None:
    side = serving(2)
    side.retire()
    assert drain(side) == [Idle(0)]
    take(side, 2, 1)
    assert drain(side) == [Busy(2, 1, Reason.FILLED, 1, 0)]
    assert side.state is WorkerState.RETIRING


@pytest.mark.parametrize(
    ("data", "requirement"),
    [
        (encode(Idle(1)), "BC-FRAME-03"),
        (encode(Gone(0, 1)), "BC-FRAME-03"),  # and not BC-STATUS-06, which is its other fault (BC-VIOL-04)
        (encode(Accept(2, 1, 1)), "BC-ACCEPT-04"),
        (b"\x20" + encode(Accept(2, 0, 1))[1:], "BC-FRAME-03"),
    ],
)
def test_violation_by_the_parent(data: bytes, requirement: str) -> None:
    side = serving()
    with pytest.raises(Violation) as caught:
        side.receive(data)
    assert caught.value.requirement == requirement
    assert side.finished
    assert side.exit_status == PROTOCOL
    assert side.outgoing() == b""


def test_welcome_in_another_version() -> None:
    side = WorkerSide(1)
    side.hello()
    with pytest.raises(Violation, match="BC-VER-06"):
        side.receive(b"\x20" + encode(Accept(1, 0, 0))[1:])


def test_drain() -> None:
    side = serving(2)
    take(side, 2, 2, 2)
    drain(side)
    side.eof()
    assert not side.finished
    side.ended()
    assert drain(side) == [Gone(1, 2)]
    side.ended()
    assert drain(side) == [Idle(2)]
    assert side.finished


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=60))
def test_partial_writes_give_a_whole_stream(steps: list[tuple[bool, int]]) -> None:
    """However little the channel takes: whole frames, a BUSY before a status, figures that its orders allow, the last
    ones true.
    """
    side = serving(5)
    out = b""
    order = 1
    answered = True
    for is_order, room in steps:
        if is_order and answered and side.open < side.capacity:
            order += 1
            take(side, order, 1)
            answered = False
        elif side.open:
            side.ended()
        data = side.outgoing()
        assert len(data) <= 3 * FRAME_SIZE
        part = data[:room]
        out += part
        side.sent(len(part))
        answered = answered or decode_orders(out)[-1:] == [order]
    while data := side.outgoing():
        out += data
        side.sent(len(data))
    open_, seen = 0, []
    for at in range(0, len(out), FRAME_SIZE):
        frame = decode(out[at : at + FRAME_SIZE])
        if isinstance(frame, Busy):
            assert frame.open <= open_ + frame.accepted
            open_ = frame.open
        elif isinstance(frame, Gone):
            assert frame.open < open_
            open_ = frame.open
        else:
            assert open_ > 0
            open_ = 0
        seen.append(frame)
    assert open_ == side.open
    assert decode_orders(out) == list(range(2, order + 1))


def decode_orders(out: bytes) -> list[int]:
    whole = [out[at : at + FRAME_SIZE] for at in range(0, len(out) - FRAME_SIZE + 1, FRAME_SIZE)]
    return [frame.order for raw in whole if isinstance(frame := decode(raw), Busy)]
