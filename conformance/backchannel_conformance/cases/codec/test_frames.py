"""Frames, against the vectors of the specification: what is valid, what is not and why, and how a stream is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from backchannel_conformance.codec_under_test import CodecUnderTest
from backchannel_conformance.errors import RequirementViolated, check
from backchannel_conformance.requirements import folder


class Wrong:
    """What is not as the vectors say: the first is the verdict, the next ones are named with it."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str, str]] = []

    def unless(self, holds: bool, requirement: str, name: str, seen: str) -> None:
        """Note a vector, unless its answer holds."""
        if not holds:
            self._found.append((requirement, name, seen))

    def none(self) -> None:
        """Raise for the first that does not hold."""
        if not self._found:
            return
        (requirement, name, seen), *others = self._found
        more = ", ".join(other for _, other, _ in others[:5])
        also = f"; {len(others)} more vectors went wrong, such as: {more}" if others else ""
        raise RequirementViolated(requirement, f"{name}: {seen}{also}")


def vectors(name: str) -> dict[str, Any]:
    """One file of vectors."""
    found: dict[str, Any] = json.loads((folder() / "vectors" / name).read_text())
    return found


def decode(codec: CodecUnderTest, one: dict[str, Any]) -> dict[str, Any]:
    """What the codec says of a frame."""
    return codec.ask({"decode": one["octets"], "from": one["from"], "first": one["first"]})


@pytest.mark.req("BC-FRAME-01", "BC-VER-03", "BC-VER-11")
def test_codec_reads_messages(codec: CodecUnderTest) -> None:
    """Every valid frame is read as the message that it is."""
    wrong = Wrong()
    for one in vectors("frames.json")["valid"]:
        said, due = decode(codec, one), {"message": one["message"]}
        wrong.unless(said == due, "BC-FRAME-01", one["name"], f"{one['octets']} was read as {said} instead of {due}")
    wrong.none()


@pytest.mark.req("BC-FRAME-01", "BC-FRAME-02", "BC-VER-01", "BC-VER-02")
def test_codec_writes_messages(codec: CodecUnderTest) -> None:
    """Every message is written as the octets that it has, with 0 wherever it says nothing."""
    wrong = Wrong()
    for one in vectors("frames.json")["valid"]:
        if not one.get("decode_only"):
            said, due = codec.ask({"encode": one["message"]}), {"octets": one["octets"]}
            seen = f"{one['message']} was written as {said} instead of {due}"
            wrong.unless(said == due, "BC-FRAME-02", one["name"], seen)
    wrong.none()


@pytest.mark.req(
    "BC-FRAME-03",
    "BC-FRAME-05",
    "BC-FRAME-06",
    "BC-FRAME-07",
    "BC-FRAME-08",
    "BC-HELLO-03",
    "BC-HELLO-11",
    "BC-HELLO-12",
    "BC-STATUS-13",
    "BC-STATUS-14",
    "BC-VER-02",
    "BC-VER-06",
    "BC-VER-07",
    "BC-VER-08",
    "BC-VER-09",
    "BC-VIOL-04",
)
def test_codec_rejects_what_is_wrong(codec: CodecUnderTest) -> None:
    """Every frame with a fault is rejected, and the fault given its class."""
    wrong = Wrong()
    for one in vectors("frames.json")["invalid"]:
        said, due = decode(codec, one), {"reject": one["error"]}
        requirement = "BC-VIOL-04" if "reject" in said else one["req"][0]
        where = f"as the first frame of a {one['from']}" if one["first"] else f"from a {one['from']}, not its first"
        seen = f"{one['octets']} {where}: {said} instead of {due}"
        wrong.unless(said == due, requirement, one["name"], seen)
    wrong.none()


@pytest.mark.req("BC-CHAN-04", "BC-CHAN-13", "BC-FRAME-04")
def test_codec_cuts_a_stream(codec: CodecUnderTest) -> None:
    """However a stream was split and merged, the same frames come out, each as soon as it is whole."""
    wrong = Wrong()
    for one in vectors("streams.json")["streams"]:
        said, due = codec.ask({"cut": one["reads"]}), {"frames": one["frames"]}
        wrong.unless(said == due, one["req"][0], one["name"], f"{one['reads']} was cut into {said} instead of {due}")
    wrong.none()


@pytest.mark.req("BC-FRAME-01")
def test_codec_ends_with_its_input(codec: CodecUnderTest) -> None:
    """The command exits with 0 at the end of its input, having answered all of it."""
    codec.ask({"encode": {"type": "GONE", "open": 1, "capacity": 2}})
    status = codec.finish()
    check(status == 0, "BC-FRAME-01", f"the codec exited with status {status}")
