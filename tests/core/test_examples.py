"""Every line of the specification's examples is what it says, octet by octet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from backchannel import VERSION, Accept, Busy, Features, Frame, Gone, Hello, Idle, Reason, decode, encode

PAGE = Path(__file__).parents[2] / "spec" / "1.0" / "examples.rst"
LINE = re.compile(r"^   ([PW])[AB]? +((?:[0-9a-f]{8} ){5}) ([A-Z]+) (.*)$", re.MULTILINE)


def parse(kind: str, text: str) -> Frame:
    """The message that a line names in words."""
    words = dict(word.split("=") for word in text.split())
    figures = {name: int(value) for name, value in words.items() if value.isdecimal()}
    if kind == "ACCEPT":
        return Accept(figures["order"], figures["listener"], figures["max"])
    if kind == "BUSY":
        reason = Reason[words["reason"]]
        return Busy(figures["order"], figures["accepted"], reason, figures["open"], figures["capacity"])
    if kind == "GONE":
        return Gone(figures["open"], figures["capacity"])
    assert figures["open"] == 0
    if "hello" not in words:
        return Idle(figures["capacity"])
    lowest, highest = (int(version, 16) for version in words["hello"].split(".."))
    return Idle(figures["capacity"], Hello(lowest, highest, Features(int(words["features"], 16))))


EXAMPLES = LINE.findall(PAGE.read_text())


def test_examples_are_found() -> None:
    frames = sum(line.startswith(("   W", "   P")) for line in PAGE.read_text().splitlines())
    assert len(EXAMPLES) == frames > 20


@pytest.mark.parametrize(("side", "octets", "kind", "text"), list(dict.fromkeys(EXAMPLES)))
def test_example(side: str, octets: str, kind: str, text: str) -> None:
    raw = bytes.fromhex(octets)
    frame = parse(kind, text)
    assert encode(frame) == raw
    assert decode(raw, VERSION) == frame
    assert isinstance(frame, Accept) is (side == "P")
