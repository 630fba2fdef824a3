"""Frames and streams that nobody has chosen, against the suite's own codec, which is written from the specification.

They are drawn from a fixed seed: each run asks the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from backchannel_conformance import frames
from backchannel_conformance.codec_under_test import CodecUnderTest
from backchannel_conformance.errors import check
from backchannel_conformance.frames import SIZE, Frame

FRAMES = 1500
STREAMS = 150
OCTETS = (0, 1, 2, 5, 6, 7, 0x0F, 0x10, 0x11, 0x20, 0x41, 0x42, 0x47, 0x49, 0x80, 0xFF)
WORDS = (0, 1, 2, 3, 0xFF, 0x1_0000, 0x1010_0000, 0x1010_0001, 0x0F10_0000, 0x1020_0001, 0x8000_0000, 0xFFFF_FFFF)
"""Where an implementation is likeliest to err: the neighbours of what means something."""


def some_frame(draw: random.Random) -> Frame:
    """A frame that is right, or wrong in one or two of its parts."""
    figure = [draw.choice((*WORDS, draw.getrandbits(32), 1, 1)) for _ in range(4)]
    lowest, highest = sorted((draw.choice(OCTETS), draw.choice(OCTETS)))
    frame = draw.choice(
        (
            frames.accept(figure[0], figure[1], figure[2]),
            frames.busy(figure[0], figure[1], draw.randrange(6), figure[2], figure[3]),
            frames.gone(figure[2], figure[3]),
            frames.idle(figure[3]),
            frames.hello(figure[3], lowest, highest, draw.choice((0, 1))),
        )
    )
    for _ in range(draw.choice((0, 0, 1, 1, 1, 2))):
        name = draw.choice(Frame._fields)
        is_octet = Frame._fields.index(name) < 4
        frame = frame._replace(**{name: draw.choice(OCTETS if is_octet else WORDS)})
    return frame


def due(octets: bytes, sender: str, *, first: bool) -> dict[str, Any]:
    """What the contract has for it."""
    try:
        return {"message": frames.decode(octets, sender, first=first)}
    except frames.Violation as violation:
        return {"reject": violation.requirement}


@pytest.mark.req("BC-FRAME-01", "BC-FRAME-03", "BC-HELLO-03", "BC-VIOL-04", "BC-VER-03")
def test_codec_reads_any_frame(codec: CodecUnderTest) -> None:
    """Every frame is read as the message that it is, or rejected with the class of its first fault."""
    draw = random.Random(1)
    for _ in range(FRAMES):
        octets, sender, first = some_frame(draw).octets, draw.choice(("parent", "worker")), draw.random() < 0.3
        said, expected = (
            codec.ask({"decode": octets.hex(), "from": sender, "first": first}),
            due(octets, sender, first=first),
        )
        where = f"{'the first' if first else 'not the first'} from a {sender}"
        broken = expected.get("reject", "BC-FRAME-01")
        if "reject" in expected and "reject" in said:
            broken = "BC-VIOL-04"
        check(said == expected, broken, f"{octets.hex()}, {where}: {said} instead of {expected}")


@pytest.mark.req("BC-FRAME-01", "BC-FRAME-02")
def test_codec_writes_any_message(codec: CodecUnderTest) -> None:
    """Every message is written as the octets that it has, with 0 wherever it says nothing."""
    draw, written = random.Random(2), 0
    while written < FRAMES // 3:
        octets, sender, first = some_frame(draw).octets, draw.choice(("parent", "worker")), draw.random() < 0.3
        message = due(octets, sender, first=first).get("message")
        if message is None or ("hello" in message and frames.encode(message) != octets):
            continue  # a hello with features that this version does not know is read, and never written
        said, written = codec.ask({"encode": message}), written + 1
        check(
            said == {"octets": octets.hex()},
            "BC-FRAME-02",
            f"{message} was written as {said} instead of {octets.hex()}",
        )


@pytest.mark.req("BC-CHAN-04", "BC-FRAME-04")
def test_codec_cuts_any_stream(codec: CodecUnderTest) -> None:
    """However a stream was split and merged, the same frames come out, each as soon as it is whole."""
    draw = random.Random(3)
    for _ in range(STREAMS):
        stream = b"".join(some_frame(draw).octets for _ in range(draw.randrange(1, 9))) + draw.randbytes(
            draw.choice((0, 7))
        )
        reads = list(pieces(draw, stream))
        expected, seen, before = list[list[str]](), b"", 0
        for read in reads:
            seen += read
            whole, _ = frames.cut(seen)
            expected.append([frame.hex() for frame in whole[before:]])
            before = len(whole)
        said = codec.ask({"cut": [read.hex() for read in reads]})
        sizes = [len(read) for read in reads]
        check(
            said == {"frames": expected},
            "BC-CHAN-04",
            f"reads of {sizes} octets were cut into {said} instead of {expected}",
        )


def pieces(draw: random.Random, stream: bytes) -> Iterator[bytes]:
    """``stream`` in reads, many of them as long as a frame, but not at its place."""
    while stream:
        size = draw.choice((SIZE, SIZE, SIZE - 1, SIZE + 1, 1, draw.randrange(1, 3 * SIZE)))
        yield stream[:size]
        stream = stream[size:]
