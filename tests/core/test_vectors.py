"""The core does what the specification's vectors say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from backchannel import (
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
    WorkerSide,
    decode,
    decode_hello,
    encode,
)

VECTORS = Path(__file__).parents[2] / "spec" / "1.0" / "vectors"


def load(name: str) -> dict[str, Any]:
    """One file of vectors."""
    found: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return found


def each(name: str, part: str) -> Any:
    """A parameter for each vector."""
    return pytest.mark.parametrize("vector", [pytest.param(item, id=item["name"]) for item in load(name)[part]])


def frame(message: dict[str, Any]) -> Frame:
    """The message as an object."""
    fields = {name: value for name, value in message.items() if name not in ("type", "hello")}
    match message["type"]:
        case "ACCEPT":
            return Accept(**fields)
        case "BUSY":
            return Busy(**{**fields, "reason": Reason[fields["reason"]]})
        case "GONE":
            return Gone(**fields)
    hello = None
    if "hello" in message:
        features = Features.NONE
        for name in message["hello"]["features"]:
            features |= Features[name]
        hello = Hello(message["hello"]["lowest"], message["hello"]["highest"], features)
    return Idle(fields["capacity"], hello)


def understand(octets: bytes, sender: str, first: bool) -> Frame:
    """As the receiving side of the core would."""
    if sender == "parent":
        worker = WorkerSide(capacity=1, listeners=1 << 32)
        worker.hello()
        if not first:
            worker.receive(encode(Accept(1, 0, 0)))
        [order] = worker.receive(octets)
        return order
    if first:
        return decode_hello(octets)
    found = decode(octets)
    if isinstance(found, Accept):
        raise Violation("BC-FRAME-03", "ACCEPT from a worker")
    if isinstance(found, Idle) and found.hello is not None:
        raise Violation("BC-HELLO-03", "a second hello")
    return found


@each("frames", "valid")
def test_valid_frame(vector: dict[str, Any]) -> None:
    octets, message = bytes.fromhex(vector["octets"]), frame(vector["message"])
    assert understand(octets, vector["from"], vector["first"]) == message
    if "decode_only" not in vector:
        version = message.hello.lowest if isinstance(message, Idle) and message.hello else 0x10
        assert encode(message, version) == octets


@each("frames", "invalid")
def test_invalid_frame(vector: dict[str, Any]) -> None:
    with pytest.raises(Violation) as caught:
        understand(bytes.fromhex(vector["octets"]), vector["from"], vector["first"])
    assert caught.value.requirement == vector["error"]


@each("streams", "streams")
def test_stream(vector: dict[str, Any]) -> None:
    reader = FrameReader()
    got = [[part.hex() for part in reader.feed(bytes.fromhex(read))] for read in vector["reads"]]
    assert got == vector["frames"]
