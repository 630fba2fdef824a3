"""Ports that are built first: what is missing is named, and what the compiler said is shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from backchannel_conformance import manifest
from backchannel_conformance.cli import main
from backchannel_conformance.errors import UsageError

PORT = Path(__file__).parents[2] / "examples" / "c"
TEXT = """
contract = "1.0"
spec = "1.0"

[implementation]
name = "mine"
language = "shell"

[build]
command = ["sh", "-c", "cp {here}/source {here}/program"]

[pool]
command = ["{here}/program", "{listen}"]
"""


def load(tmp_path: Path, text: str) -> manifest.Manifest:
    (tmp_path / "mine.toml").write_text(text)
    return manifest.load(tmp_path / "mine.toml")


def test_builds_first(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("#!/bin/sh\n")
    (tmp_path / "source").chmod(0o755)
    load(tmp_path, TEXT)
    assert (tmp_path / "program").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "[build]",
            '[build]\nneeds = ["no-such-compiler"]',
            "it is built with 'no-such-compiler', and there is no such",
        ),
        ('"sh", "-c", "cp {here}/source {here}/program"', '"no-such-make"', "it is built with 'no-such-make'"),
        ("cp {here}", "echo syntax error; exit 3; cp {here}", "failed with status 3:\nsyntax error"),
        ("cp {here}", "exit 3; cp {here}", "it said nothing"),
        ("cp {here}", "cp {her}", "no placeholder {her} in build.command; did you mean 'here'?"),
        ("[build]", "[build]\nneds = []", "no key 'build.neds' in the contract; did you mean 'needs'?"),
        ('["sh", "-c", "cp {here}/source {here}/program"]', "[]", "build.command is empty"),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(UsageError) as found:
        load(tmp_path, TEXT.replace(old, new))
    assert said in str(found.value)


@pytest.mark.skipif(not all(map(shutil.which, ("cc", "make"))), reason="no compiler")
def test_port_in_c(tmp_path: Path) -> None:
    """Frames and worker of the port: the two roles that are quick. The rest runs with the references."""
    arguments = ["--manifest", str(PORT / "c.toml"), "--role", "codec", "--role", "worker", "--no-controls"]
    assert main(["run", *arguments, "--report", str(tmp_path), "--", "-q", "--no-header"]) == 0
