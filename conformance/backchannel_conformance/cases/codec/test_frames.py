"""Frames, against the vectors of the specification: what is valid, what is not and why, and how a stream is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from backchannel_conformance.codec import Codec
from backchannel_conformance.errors import check
from backchannel_conformance.requirements import folder


def vectors(name: str) -> dict[str, Any]:
    """One file of vectors."""
    found: dict[str, Any] = json.loads((folder() / "vectors" / name).read_text())
    return found


@pytest.mark.req("BC-FRAME-01", "BC-VER-03")
def test_codec_reads_messages(codec: Codec) -> None:
    """Every valid frame is read as the message that it is."""
    for one in vectors("frames.json")["valid"]:
        said = codec.ask({"decode": one["octets"], "from": one["from"], "first": one["first"]})
        check(said == {"message": one["message"]}, "BC-FRAME-01", f"{one['name']}: {one['octets']} was read as {said}")


@pytest.mark.req("BC-FRAME-01", "BC-FRAME-02", "BC-VER-01", "BC-VER-02")
def test_codec_writes_messages(codec: Codec) -> None:
    """Every message is written as the octets that it has, with 0 wherever it says nothing."""
    for one in vectors("frames.json")["valid"]:
        if not one.get("decode_only"):
            said = codec.ask({"encode": one["message"]})
            check(said == {"octets": one["octets"]}, "BC-FRAME-02", f"{one['message']} was written as {said}")


@pytest.mark.req("BC-FRAME-03", "BC-HELLO-03", "BC-VIOL-04")
def test_codec_rejects_what_is_wrong(codec: Codec) -> None:
    """Every frame with a fault is rejected, and the fault given its class."""
    for one in vectors("frames.json")["invalid"]:
        said = codec.ask({"decode": one["octets"], "from": one["from"], "first": one["first"]})
        check("reject" in said, one["error"], f"{one['name']}: {one['octets']} was read as {said}")
        check(said["reject"] == one["error"], "BC-VIOL-04", f"{one['name']}: rejected for {said['reject']}")


@pytest.mark.req("BC-CHAN-04", "BC-FRAME-04")
def test_codec_cuts_a_stream(codec: Codec) -> None:
    """However a stream was split and merged, the same frames come out, each as soon as it is whole."""
    for one in vectors("streams.json")["streams"]:
        said = codec.ask({"cut": one["reads"]})
        check(said == {"frames": one["frames"]}, "BC-CHAN-04", f"{one['name']}: cut into {said}")


@pytest.mark.req("BC-FRAME-01")
def test_codec_ends_with_its_input(codec: Codec) -> None:
    """The command exits with 0 at the end of its input, having answered all of it."""
    codec.ask({"encode": {"type": "GONE", "open": 1, "capacity": 2}})
    status = codec.finish()
    check(status == 0, "BC-FRAME-01", f"the codec exited with status {status}")
