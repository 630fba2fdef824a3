"""The codec: round trips, one fault each, any splitting of the stream."""

from __future__ import annotations

import pytest
from backchannel import (
    FRAME_SIZE,
    VERSION,
    Accept,
    Busy,
    Features,
    Frame,
    FrameReader,
    Gone,
    Hello,
    Idle,
    Reason,
    Violation,
    decode,
    decode_hello,
    encode,
)
from hypothesis import given
from hypothesis import strategies as st

words = st.integers(0, 2**32 - 1)
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Accept, words, words, words),
    st.builds(Busy, words, words, st.sampled_from(Reason), words, words),
    st.builds(Gone, st.integers(1, 2**32 - 1), words),
    st.builds(Idle, words, st.none()),
)


@given(frames)
def test_round_trip(frame: Frame) -> None:
    raw = encode(frame)
    assert len(raw) == FRAME_SIZE
    assert decode(raw) == frame


@given(st.binary(min_size=FRAME_SIZE, max_size=FRAME_SIZE))
def test_decode_is_exact(raw: bytes) -> None:
    """What decodes encodes to the same octets, so no two forms mean the same; the rest is a violation, never a
    crash.
    """
    try:
        frame = decode(raw)
    except Violation:
        return
    if isinstance(frame, Idle) and frame.hello:
        return  # unknown feature bits of a hello are ignored
    assert encode(frame) == raw


@given(st.lists(frames, max_size=8), st.data())
def test_any_split_gives_the_same_frames(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader = FrameReader()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [decode(raw) for piece in pieces for raw in reader.feed(piece)] == sent


GOOD = encode(Busy(7, 1, Reason.FILLED, 1, 4))


@pytest.mark.parametrize(
    ("raw", "requirement"),
    [
        (b"\x11" + GOOD[1:], "BC-FRAME-03"),
        (GOOD[:1] + b"\x40" + GOOD[2:], "BC-FRAME-03"),
        (GOOD[:2] + b"\x06" + GOOD[3:], "BC-FRAME-03"),
        (GOOD[:3] + b"\x01" + GOOD[4:], "BC-FRAME-03"),
        (encode(Accept(1, 0, 1))[:19] + b"\x01", "BC-FRAME-03"),
        (encode(Gone(1, 1))[:7] + b"\x01" + encode(Gone(1, 1))[8:], "BC-FRAME-03"),
        (encode(Idle(1))[:11] + b"\x01" + encode(Idle(1))[12:], "BC-FRAME-03"),
        (encode(Idle(1))[:2] + b"\x01" + encode(Idle(1))[3:], "BC-FRAME-03"),
        (encode(Gone(1, 1))[:15] + b"\x00" + encode(Gone(1, 1))[16:], "BC-STATUS-06"),
        (encode(Idle(1))[:15] + b"\x01" + encode(Idle(1))[16:], "BC-STATUS-06"),
    ],
)
def test_one_fault_each(raw: bytes, requirement: str) -> None:
    with pytest.raises(Violation) as caught:
        decode(raw)
    assert caught.value.requirement == requirement


def hello(lowest: int = VERSION, highest: int = VERSION, capacity: int = 1, features: int = 0) -> bytes:
    word = lowest << 24 | highest << 16 | features
    return bytes([lowest, 0x49, 0, 0]) + word.to_bytes(4, "big") + bytes(8) + capacity.to_bytes(4, "big")


@pytest.mark.parametrize(("lowest", "highest"), [(0x10, 0x10), (0x10, 0x20), (0x11, 0x12), (0x20, 0x20), (1, 255)])
def test_hello_of_any_version_is_read(lowest: int, highest: int) -> None:
    idle = decode_hello(hello(lowest, highest, 5, 0xFFFF))
    assert idle == Idle(5, Hello(lowest, highest, Features.RESPONSIVE))


@pytest.mark.parametrize(
    "raw",
    [
        hello(capacity=0),
        hello(0x20, 0x10),
        hello(0, 0x10),
        b"\x11" + hello()[1:],
        encode(Idle(1)),
        encode(Gone(1, 1)),
        bytes(20),
    ],
)
def test_what_is_no_hello(raw: bytes) -> None:
    with pytest.raises(Violation):
        decode_hello(raw)
