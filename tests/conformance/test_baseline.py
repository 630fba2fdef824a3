"""Baselines: what is known fails nothing, what is not known and what is stale does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from backchannel_conformance.cli import main
from faulty_codec import CODEC, install

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["broken", "whole"])
def codec(request: pytest.FixtureRequest) -> str:
    return CODEC if request.param == "broken" else CODEC.replace("BC-VER-02", "nothing")


def run(tmp_path: Path, codec: str, *arguments: str) -> tuple[int, dict[str, str], list[Any]]:
    chosen = ["--manifest", str(install(tmp_path, codec)), "--role", "codec", "--no-controls"]
    status = main(["run", *chosen, "--report", str(tmp_path), *arguments, "--", "-q", "--no-header"])
    report = json.loads((tmp_path / "report.json").read_text())
    jsonschema.validate(report, json.loads((ROOT / "spec" / "adapter" / "report.schema.json").read_text()))
    cases = report["implementations"][0]["cases"]
    return status, {case["id"]: case["status"] for case in cases}, cases


def baseline(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "known.toml").write_text(text)
    return ["--baseline", str(tmp_path / "known.toml")]


def test_known_failure_fails_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, cases, found = run(tmp_path, CODEC, *baseline(tmp_path, '[mine]\nBC-VER-02 = "not yet"\n'))
    assert status == 0
    assert cases["test_codec_rejects_what_is_wrong"] == cases["test_codec_reads_any_frame"] == "known"
    case = next(case for case in found if case["id"] == "test_codec_rejects_what_is_wrong")
    assert case["broke"] == "BC-VER-02"
    assert case["message"].startswith("not yet\n")
    assert "known       test_codec_rejects_what_is_wrong: not yet" in capfd.readouterr().out


@pytest.mark.parametrize("text", ["", '[mine]\nBC-CHAN-09 = "another"\n', '[other]\nBC-VER-02 = "whose"\n'])
def test_unknown_failure_fails(tmp_path: Path, text: str) -> None:
    status, cases, _ = run(tmp_path, CODEC, *baseline(tmp_path, text))
    assert status == 1
    assert cases["test_codec_rejects_what_is_wrong"] == "fail"


def test_stale_entry_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = CODEC.replace("BC-VER-02", "nothing")
    status, cases, _ = run(tmp_path, whole, *baseline(tmp_path, '[mine]\nBC-CHAN-04 = "cannot"\n'))
    assert set(cases.values()) == {"pass"}
    assert status == 1
    assert "mine holds BC-CHAN-04 by now: take it out of the baseline" in capfd.readouterr().out


def test_entry_that_nothing_ran_for_is_not_stale(tmp_path: Path) -> None:
    whole = CODEC.replace("BC-VER-02", "nothing")
    status, _, _ = run(tmp_path, whole, *baseline(tmp_path, '[mine]\nBC-HERD-01 = "not run here"\n'))
    assert status == 0


def test_what_is_written_can_be_used(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "known.toml"
    status, _, _ = run(tmp_path, codec, "--write-baseline", str(path))
    assert status == 0
    assert ("BC-VER-02" in path.read_text()) == (codec == CODEC)
    status, _, _ = run(tmp_path, codec, "--baseline", str(path))
    assert status == 0


def test_reasons_survive_a_rewrite(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    path.write_text('[mine]\nBC-VER-02 = "because of \\"this\\""\nBC-CHAN-04 = "no longer"\n')
    run(tmp_path, CODEC, "--write-baseline", str(path))
    text = path.read_text()
    assert 'BC-VER-02 = "because of \\"this\\""' in text
    assert "BC-CHAN-04" not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory; --write-baseline"),
        ("[mine", "is not TOML"),
        ('BC-VER-02 = "x"', "BC-VER-02 stands outside a table"),
        ('[mine]\nBC-HERD-2 = "x"', "the specification has no BC-HERD-2; did you mean BC-HERD-02?"),
        ('[mine]\nBC-VER-02 = ""', "mine.BC-VER-02 has no reason"),
    ],
)
def test_mistakes(tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str | None, said: str) -> None:
    path = tmp_path / "known.toml"
    if text is not None:
        path.write_text(text)
    assert main(["run", "--impl", "sync", "--baseline", str(path)]) == 2
    assert said in capfd.readouterr().err
