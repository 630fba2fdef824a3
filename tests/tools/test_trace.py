"""Frames as readable lines and as a chart: from the specification's examples, from octets, from a parent's trace."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from backchannel import Busy, Gone, Hello, Idle, Parent, Reason, Scaling, Settings, encode
from backchannel.frames import Features
from backchannel.trace import record
from backchannel_tools import trace
from backchannel_tools.capture import CaptureError, describe, read
from backchannel_tools.chart import draw

SPEC = Path(__file__).parents[2] / "spec" / "1.0"
HELLO = encode(Idle(2, Hello(0x10, 0x10, Features.RESPONSIVE)))


def test_it_writes_what_the_specification_writes() -> None:
    written = [
        line[3:] for line in (SPEC / "examples.rst").read_text().splitlines() if re.match(r"   [PW][AB]? ", line)
    ]
    assert len(written) > 20
    shown = list(trace.lines(read("\n".join(written).encode())))
    assert [line.split() for line in shown] == [line.split() for line in written]


def test_octets_of_both_directions() -> None:
    streams = json.loads((SPEC / "vectors" / "streams.json").read_text())["streams"]
    for stream in streams:
        data = bytes.fromhex("".join(stream["reads"]))
        frames = [bytes.fromhex(frame) for frames in stream["frames"] for frame in frames]
        events = read(data)
        assert [event.data for event in events if event.data] == frames, stream["name"]
        assert bool(stream["rest"]) is any("within a frame" in event.text for event in events)


def test_every_valid_frame_of_the_vectors_is_described() -> None:
    vectors = json.loads((SPEC / "vectors" / "frames.json").read_text())["valid"]
    for vector in vectors:
        shown = describe(bytes.fromhex(vector["octets"]))
        figures = {name: value for name, value in vector["message"].items() if name not in ("type", "hello")}
        assert shown.split()[0] == vector["message"]["type"], vector["name"]
        assert {f"{name}={value}" for name, value in figures.items()} <= set(shown.split()), vector["name"]


def test_a_frame_that_breaks_the_protocol_is_named() -> None:
    assert describe(bytes.fromhex("10420900" + "00000000" * 4)) == "?? BC-FRAME-03: BUSY with unknown reason 9"


@pytest.fixture
def recorded() -> bytes:
    """What a parent with two workers saw and did."""
    lines: list[str] = []
    parent = Parent(Settings(capacity=2), Scaling.fixed(2))
    record(parent, lines.append)
    parent.start(100.0)
    parent.take_actions()
    parent.received(0, HELLO[:7], 100.1)  # in two pieces
    parent.received(0, HELLO[7:], 100.1)
    parent.received(1, HELLO, 100.2)
    parent.take_actions()
    for slot in (0, 1):
        parent.received(slot, encode(Busy(1, 0, Reason.FILLED, 0, 2)), 100.3)
    parent.readable(0)
    parent.dispatch({0: 1})
    parent.take_actions()
    parent.received(0, encode(Busy(2, 1, Reason.FILLED, 1, 2)), 100.5)
    parent.received(1, encode(Gone(3, 2)), 100.6)  # it holds none: a violation
    parent.take_actions()
    parent.exited(1, -9, 100.7)
    parent.take_actions()
    return "".join(lines).encode()


def test_a_parents_trace_as_lines(recorded: bytes) -> None:
    shown = list(trace.lines(read(recorded)))
    assert shown[:3] == [
        "   0.0000  -   the parent starts",
        "   0.0000  -   slot 0 is spawned",
        "   0.0000  -   slot 1 is spawned",
    ]
    assert (
        "   0.1000  W0  10490000 10100001 00000000 00000000 00000002  IDLE hello=10..10 features=0001 open=0 capacity=2"
        in shown
    )
    assert any(line.endswith("1 pending on listener 0") for line in shown)
    assert any("slot 1 is killed" in line for line in shown)
    assert "   0.7000  -   slot 1 has exited with -9" in shown


def test_a_parents_trace_as_a_chart(recorded: bytes) -> None:
    chart = list(draw(read(recorded)))
    assert chart[0] == "         parent                    slot 0   slot 1"
    assert chart[4] == "   0.1000   │◀ hello 0/2 ─────────────│        │"
    assert "            │─ ACCEPT #2 max 1 ──────▶│        │".strip() in "\n".join(chart)
    assert any("┼────────│" in line for line in chart), "the arrow of slot 1 crosses the line of slot 0"
    gone = next(at for at, line in enumerate(chart) if "has exited" in line)
    assert all(line.count("│") < 3 for line in chart[gone + 1 :] if "spawned" not in line) or gone == len(chart) - 1
    assert "│" not in "".join(draw(read(recorded), ascii_only=True))


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = trace.main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_command_line(
    recorded: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trace"
    path.write_bytes(recorded)
    status, out, _ = run([str(path), "--frames", "--worker", "1"], capsys)
    assert (status, len(out.splitlines())) == (0, 4)
    assert run([str(path), "--chart"], capsys)[0] == 0

    class Stdin:
        buffer = io.BytesIO(HELLO)

    monkeypatch.setattr("sys.stdin", Stdin)
    status, out, _ = run([], capsys)
    assert (status, out) == (
        0,
        "W  10490000 10100001 00000000 00000000 00000002  IDLE hello=10..10 features=0001 open=0 capacity=2\n",
    )


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "there is no frame in it"),
        (b"W  1049\n", "line 1: no frame in 'W  1049'"),
        (b'{"in": "received", "slot": 0}\n', "line 1: this is not a line of a parent's trace"),
        (b'{"in": "start", "now": 1}\nnonsense\n', "line 2: this is not a line"),
    ],
)
def test_bad_captures_are_named(content: bytes, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    status, out, err = run([str(path)], capsys)
    assert (status, out) == (1, "")
    assert named in err
    assert str(path) in err


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such file" in run(["/nowhere"], capsys)[2]
    with pytest.raises(CaptureError):
        read(b"hello")
