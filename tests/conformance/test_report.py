"""The report: its schema, and a page that needs nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from backchannel_conformance import frames, manifest, transcript
from backchannel_conformance.html_report import render
from backchannel_conformance.report import Case, Report

SCHEMA = json.loads((Path(__file__).parents[2] / "spec" / "adapter" / "report.schema.json").read_text())
BUSY = ["BC-BUSY-03", "BC-BUSY-04"]


@pytest.fixture
def report() -> Report:
    """Two targets: an implementation that fails in each way, and a control."""
    made = Report([manifest.find("sync"), manifest.find("naive-herd")])
    target, control = made.targets.values()
    target.record(Case("test_order_is_filled", BUSY, "pass", 0.1, role="worker"))
    transcript.begin()
    transcript.note("P", frames.accept(2, 1).octets)
    transcript.note("W", frames.busy(2, 1, frames.EMPTY, 1, 1).octets + frames.idle(1).octets[:7])
    lines = transcript.lines()
    broken = Case("test_nothing_pending", BUSY, "fail", 0.2, "m", "worker", "BC-BUSY-04", "<b>7 & 8</b>", lines)
    target.record(broken)
    target.record(Case("test_codec_cuts_a_stream", ["BC-CHAN-04"], "error", 1.0, "ContractError: it <died>", "codec"))
    target.record(Case("test_no_herd", ["BC-HERD-01"], "not-applicable", 0.0, "not applicable: no class"))
    points = [(2, 1.5), (4, 1.25), (32, 0.0)]
    target.figures["test_wakeups_by_pool_size"] = {"workers, wake-ups per connection": points}
    target.figures["test_pool_follows_the_load"] = {"seconds, workers, connections": [[0.0, 2, 0], [0.5, 3, 2]]}
    control.record(Case("test_no_herd", ["BC-HERD-01"], "fail", 1.0, "m", broke="BC-HERD-01", seen="all woke"))
    return made


def written(report: Report, tmp_path: Path) -> tuple[dict[str, Any], str]:
    report.write(tmp_path)
    return json.loads((tmp_path / "report.json").read_text()), (tmp_path / "report.html").read_text()


def test_schema(report: Report, tmp_path: Path) -> None:
    document, _ = written(report, tmp_path)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(document, SCHEMA)
    document["implementations"][0]["cases"][0]["status"] = "perhaps"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_transcript_says_what_the_octets_mean(report: Report) -> None:
    frames = report.targets["sync"].cases[1].frames
    assert frames[0] == "P  10410000 00000002 00000000 00000001 00000000  ACCEPT order=2 listener=0 max=1"
    assert frames[1].endswith("BUSY order=2 accepted=1 reason=EMPTY open=1 capacity=1")
    assert frames[2] == "W  10490000 000000  7 octets of a frame"


def test_transcript_puts_pieces_together() -> None:
    transcript.begin()
    octets = frames.accept(2, 1).octets
    for at in range(frames.SIZE):
        transcript.note("P", octets[at : at + 1])
    transcript.note("P", octets * 2)
    first, *others = transcript.lines()
    assert first.endswith("ACCEPT order=2 listener=0 max=1  (in 20 pieces)")
    assert [line.endswith("max=1") for line in others] == [True, True]
    transcript.begin()
    assert transcript.lines() == []


class Page(HTMLParser):
    """Checks that what is opened is closed."""

    void = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href"} & dict(attrs).keys()
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_stands_alone(report: Report, tmp_path: Path) -> None:
    _, text = written(report, tmp_path)
    parsed = Page()
    parsed.feed(text)
    assert not parsed.open
    assert "<script" not in text
    assert not re.search(r"url\(|@import|https?://", text)
    assert "$" not in text
    assert "nan" not in re.sub(r"[a-z]+nan[a-z]*", "", text)


def test_page_tells_each_failure(report: Report, tmp_path: Path) -> None:
    _, text = written(report, tmp_path)
    parsed = Page()
    parsed.feed(text)
    for piece in (
        "sync: test_nothing_pending",
        "BC-BUSY-04",
        "reason MUST be FILLED if accepted equals max",  # the clause
        "accepted 0, EMPTY, without blocking",  # expected
        "<b>7 & 8</b>",  # actual, and not as markup
        "ACCEPT order=2 listener=0 max=1",
        "ContractError: it <died>",
        "What a connection costs",
        "The pool under load",
        "sync: no class",
    ):
        assert piece in parsed.text, piece


def test_failure_of_one_requirement_is_none_of_another(report: Report) -> None:
    text = render(report.as_json())
    row = re.compile(r"<b>BC-BUSY-0(\d)</b>.*?</tr>", re.DOTALL)
    verdicts = {match[1]: "fail" in match[0] for match in row.finditer(text[text.index("<h2>Requirements") :])}
    assert verdicts["4"]
    assert not verdicts["3"]


def test_page_of_a_run_without_failures(report: Report) -> None:
    report.targets["sync"].cases[1:3] = []
    assert "None: every requirement that was tested holds." in render(report.as_json())
    report.targets["sync"].cases.clear()
    report.targets["sync"].figures.clear()
    assert "nothing was run" in render(report.as_json())


@pytest.mark.parametrize(
    ("came", "behaved"),
    [
        ([], True),  # nothing was asked of it
        (["fail"], True),
        (["untestable"], True),
        (["fail", "untestable"], True),
        (["pass"], False),
        (["untestable", "pass"], False),
        (["not-applicable"], False),
        (["error"], False),
        ([None], False),  # what ran is not what it must fail
    ],
)
def test_control_must_fail_what_can_be_tested_here(came: list[str | None], behaved: bool) -> None:
    (target,) = Report([manifest.find("naive-herd")]).targets.values()
    names = sorted(target.manifest.must_fail)
    for name, status in zip(names, came, strict=False):
        target.record(Case(name if status else "test_kill_storm", ["BC-HERD-01"], status or "pass", 0.1))
    assert target.behaved is behaved
