"""Manifests: each mistake is named, with its remedy."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from backchannel_conformance import manifest
from backchannel_conformance.cli import main
from backchannel_conformance.errors import UsageError

GOOD = """
contract = "1.0"
spec = "1.0"

[implementation]
name = "mine"
language = "shell"
classes = ["minimum"]

[pool]
command = ["sh", "-c", "{listen} {max} {{}}"]
"""


def load(tmp_path: Path, text: str) -> manifest.Manifest:
    (tmp_path / "mine.toml").write_text(text)
    return manifest.load(tmp_path / "mine.toml")


def test_good_one(tmp_path: Path) -> None:
    made = load(tmp_path, GOOD)
    assert made.name == "mine"
    assert made.roles["pool"].placeholders == {"listen", "max"}
    assert made.fill("{listen} {{x}} {here}", manifest.DEFAULTS) == f"127.0.0.1:0 {{x}} {tmp_path}"
    assert not made.is_control


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("command =", "comand =", "no key 'pool.comand' in the contract; did you mean 'command'?"),
        ("language =", "rest = 1\nlanguage =", "no key 'implementation.rest' in the contract (there are: "),
        ("language =", "langage =", "did you mean 'language'?"),
        ('language = "shell"\n', "", "implementation.language is missing"),
        ("[pool]", "[pol]", "no key 'pol' in the contract; did you mean 'pool'?"),
        ('contract = "1.0"', 'contract = "9.0"', "contract is '9.0'; this suite speaks '1.0'"),
        ('spec = "1.0"', 'spec = "2.0"', "spec is '2.0'; this suite tests '1.0'"),
        ('["minimum"]', '["minimun"]', "no class 'minimun'; did you mean 'minimum'?"),
        ("{listen}", "{lisen}", "no placeholder {lisen} in the contract; did you mean 'listen'?"),
        ('"sh"', '"no-such-program-here"', "there is no program 'no-such-program-here'"),
        ('["sh", "-c", "{listen} {max} {{}}"]', '"sh"', "pool.command must be a list"),
        ('["sh", "-c", "{listen} {max} {{}}"]', "[1]", "pool.command must be a list of strings"),
        ('["sh", "-c", "{listen} {max} {{}}"]', "[]", "pool.command is empty"),
        ('"mine"', '"my own"', "name 'my own' may hold"),
        ("[pool]", "[pool", "is not TOML"),
        ("[pool]", "[parent]", "parent.command does not mention {worker}"),
        ("{max}", "{quota}", "no placeholder {quota} in role pool"),
        ('[pool]\ncommand = ["sh", "-c", "{listen} {max} {{}}"]', "", "offers no role: write [codec], [worker]"),
        ("[pool]", '[pool]\nenvironment = ["A=1"]', "pool.environment must be a table of strings"),
    ],
)
def test_mistake(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert said in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_program_where_the_user_may_not_look() -> None:
    with tempfile.TemporaryDirectory() as folder:
        closed, path = Path(folder, "closed"), Path(folder, "mine.toml")
        Path(folder).chmod(0o755)
        closed.mkdir(mode=0o700)
        path.write_text(GOOD.replace('"sh"', f'"{closed}/program"'))
        user = os.geteuid()
        if user:
            closed.chmod(0)
        else:
            os.seteuid(65534)  # root may look everywhere
        try:
            with pytest.raises(UsageError, match="where this user may not look"):
                manifest.load(path)
        finally:
            os.seteuid(user)
            closed.chmod(0o700)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        manifest.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "nothing to test"),
        (["run", "--impl", "snc"], "--impl snc: no such implementation; did you mean 'sync'?"),
        (["run", "--impl", "sync", "--time-scale", "0"], "give a number above 0"),
        (["run", "--impl", "sync", "--impl", "sync"], "two manifests are called 'sync'"),
    ],
)
def test_mistake_on_the_command_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--report", "--traces", "--write-baseline"])
def test_nowhere_to_write_is_said_before_anything_runs(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(["run", "--impl", "sync", "--role", "codec", "--no-controls", option, "file/below"]) == 2
    said = capsys.readouterr().err
    assert f"{option}: nothing can be written to the directory file" in said
    assert "give one where this user may write" in said


def test_those_that_come_with_the_suite() -> None:
    for folder in ("manifests", "controls"):
        for name in manifest.names(folder):
            assert manifest.find(name).is_control is (folder == "controls")
