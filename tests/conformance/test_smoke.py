"""``smoke``: a port whose plumbing is wrong is told so in words that name the role and the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from backchannel_conformance.cli import main

HEAD = 'contract = "1.0"\nspec = "1.0"\n[implementation]\nname = "it"\nlanguage = "shell"\n'


def smoke(tmp_path: Path, roles: str, capsys: pytest.CaptureFixture[str], scale: str = "0.05") -> tuple[int, str]:
    (tmp_path / "it.toml").write_text(HEAD + roles)
    status = main(["smoke", "--manifest", str(tmp_path / "it.toml"), "--time-scale", scale])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_sync_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smoke", "--impl", "sync"]) == 0
    assert capsys.readouterr().out.count("well: it ") == 4


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ('[codec]\ncommand = ["echo", "garbage"]', "b'garbage', which is not a JSON object"),
        ('[codec]\ncommand = ["sleep", "60"]', "answered with nothing within"),
        ('[codec]\ncommand = ["sh", "-c", "echo went wrong >&2"]', "went wrong"),
        ('[worker]\ncommand = ["sleep", "60"]', "did not say hello within"),
        ('[worker]\ncommand = ["sh", "-c", "echo went wrong"]', "went wrong"),
        ('[worker]\ncommand = ["sh", "-c", "echo this is garbage >&3"]', "BC-"),
        ('[parent]\ncommand = ["sh", "-c", "echo no", "{worker}"]', "started no worker, and exited"),
        ('[parent]\ncommand = ["sh", "-c", "sleep 60", "{worker}"]', "started no worker within"),
        ('[pool]\ncommand = ["echo", "garbage"]', "did not say READY: it wrote b'garbage'"),
        ('[pool]\ncommand = ["sleep", "60"]', "did not say READY: it wrote nothing; after 3 s at most it still runs"),
        ('[pool]\ncommand = ["echo", "READY garbage"]', "READY is followed by addresses"),
    ],
)
def test_wrong_plumbing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], roles: str, said: str) -> None:
    status, out = smoke(tmp_path, roles, capsys)
    assert status == 1
    assert "WRONG: " in out
    assert said in out
    assert "the command is: " in out
    assert out.count("not offered") == 3


def test_missing_program_and_misspelt_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = smoke(tmp_path, '[worker]\ncommand = ["no-such-program-here"]', capsys)
    assert status == 2
    assert "worker.command: there is no program 'no-such-program-here'" in out
    status, out = smoke(tmp_path, '[worker]\ncomand = ["true"]', capsys)
    assert status == 2
    assert "no key 'worker.comand' in the contract; did you mean 'command'?" in out
    (tmp_path / "plain").write_text("")
    status, out = smoke(tmp_path, f'[worker]\ncommand = ["{tmp_path}/plain"]', capsys)
    assert (status, "plain' may not be executed; chmod +x it" in out) == (2, True)
    status, out = smoke(tmp_path, '[worker]\ncommand = ["sh", "-c", "f() {}; f"]', capsys)
    assert (status, "worker has {}; write {{}} for the two braces themselves" in out) == (2, True)


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ('[codec]\ncommand = ["echo", "garbage"]', "role codec of it: "),
        ('[worker]\ncommand = ["sleep", "60"]', "role worker of it: the worker did not say hello within"),
        ('[parent]\ncommand = ["sh", "-c", "echo no", "{worker}"]', "role parent of it: the parent started no worker"),
        ('[pool]\ncommand = ["sh", "-c", "echo garbage"]', "role pool of it: it did not say READY"),
        ('[worker]\ncommand = ["no-such-program-here"]', "worker.command: there is no program 'no-such-program-here'"),
    ],
)
def test_run_says_so_once_and_tests_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], roles: str, said: str
) -> None:
    (tmp_path / "it.toml").write_text(HEAD + roles)
    command = ["run", "--manifest", str(tmp_path / "it.toml"), "--no-controls", "--time-scale", "0.05"]
    assert main([*command, "--report", str(tmp_path / "report")]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("backchannel_conformance: ") == 1
    assert not captured.out
    assert not (tmp_path / "report").exists()


def test_run_leaves_wrong_answers_to_the_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roles = '[worker]\ncommand = ["sh", "-c", "printf 12345678901234567890 >&3"]'
    (tmp_path / "it.toml").write_text(HEAD + roles)
    command = ["run", "--manifest", str(tmp_path / "it.toml"), "--no-controls", "--report", str(tmp_path / "report")]
    assert main([*command, "--jobs", "1", "--", "-q", "-k", "test_end_before_the_welcome"]) == 1
    assert "BC-HELLO" in capsys.readouterr().out
