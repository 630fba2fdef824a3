"""What a port prints reaches no terminal and no report as it is, and fills neither memory nor disk."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from backchannel_conformance import build, cli, manifest, port_output
from backchannel_conformance.cli import main
from backchannel_conformance.codec_under_test import CodecUnderTest
from backchannel_conformance.errors import ContractError, RequirementViolated, UsageError
from backchannel_conformance.kernel import limits
from backchannel_conformance.pool_under_test import PoolUnderTest
from backchannel_conformance.waiting import TimedOut

EVIL = "\x1b]52;c;ZXZpbA==\x07\x1b]8;;http://x\x1b\\\x1b[2J\r\x08\u202eevil\u2066\x9b31m\x00\u2028<script>alert(1)</script>\udc80"
SHOWN = r"\x1b]52;c;ZXZpbA==\x07\x1b]8;;http://x\x1b\\x1b[2J\r\x08\u202eevil\u2066\x9b31m\x00\u2028"
RAW = set(EVIL) - {c for c in EVIL if c.isprintable()}


def test_printable() -> None:
    assert port_output.printable(EVIL).startswith(SHOWN)
    assert port_output.printable("Grüße, 日本, ✓\nnext\ttab") == "Grüße, 日本, ✓\nnext\\ttab"
    assert port_output.printable("abcdefghij" * 10, 10) == "abcde ... 90 characters are left out ... fghij"


@pytest.mark.parametrize(
    "error",
    [ContractError(EVIL), UsageError(EVIL), TimedOut(EVIL), RequirementViolated("BC-HERD-01", EVIL)],
    ids=lambda error: type(error).__name__,
)
def test_messages_of_the_suite(error: Exception) -> None:
    assert not RAW & set(str(error))
    assert not RAW & set(getattr(error, "seen", ""))


def test_the_end_of_a_long_log_is_read_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(1 << 40)  # a hole: whoever read it all would need a terabyte
        file.seek(0, os.SEEK_END)
        file.write(b"\xff\x1b[1mlast words")
    assert port_output.tail(log, 18) == r"\x00\x00\x00\xff\x1b[1mlast words"
    assert port_output.tail(tmp_path / "none") == ""


# ---------------------------------------------------------------------------------------- a whole run

PORT = f"""
import json, os, sys, time
EVIL = {EVIL.encode("utf-8", "surrogateescape")!r} + b"\\xff\\xfe"
os.write(2, EVIL + b"\\n")
role = sys.argv[1]
if role == "codec":
    for line in sys.stdin:
        text = EVIL.decode("utf-8", "surrogateescape")
        os.write(1, json.dumps({{"reject": text, "octets": "\\x1b[2J"}}).encode() + b"\\n")
elif role == "pool":
    os.write(1, b"READY " + EVIL + b"\\n")
elif role == "parent":
    os.write(1, EVIL)
sys.exit(3)
"""


def evil(folder: Path) -> Path:
    (folder / "port.py").write_text(PORT)
    roles = {"codec": "", "worker": "", "pool": "", "parent": ', "{worker}"'}
    tables = "".join(
        f'\n[{role}]\ncommand = ["{{python}}", "{{here}}/port.py", "{role}"{more}]\n' for role, more in roles.items()
    )
    language = json.dumps(EVIL[:-1])  # TOML has no half of a surrogate pair
    about = f'contract = "1.0"\nspec = "1.0"\n[implementation]\nname = "evil"\nlanguage = {language}\n'
    (folder / "evil.toml").write_text(about.replace("\\b", "\\u0008") + tables)
    return folder / "evil.toml"


RUN = """
import sys
from backchannel_conformance import cli, parallel
parallel.LEAST = 2
sys.exit(cli.main())
"""
"""The suite, for which even a few cases are worth a helper."""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_nothing_of_it_is_shown_as_it_is(tmp_path: Path, jobs: str) -> None:
    command = [sys.executable, "-c", RUN, "run", "--manifest", str(evil(tmp_path)), "--no-smoke"]
    command += ["--no-controls", "--jobs", jobs, "--report", str(tmp_path / "out"), "--time-scale", "0.1", "--"]
    command += ["-k", "BC-FRAME-03 or BC-DEATH-03 or BC-PICK-01", "--color=yes", "-vv", "--tb=long", "--showlocals"]
    done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path, timeout=100)
    assert done.returncode == 1
    said = {"terminal": done.stdout + done.stderr}
    said |= {name: (tmp_path / "out" / name).read_bytes() for name in ("report.html", "report.json", "junit.xml")}
    for name, octets in said.items():
        shown = octets.decode()
        assert r"\u202eevil" in shown, name
        if name == "terminal":
            shown = re.sub("\x1b\\[[0-9;]*m|\r?\n", "", shown)  # pytest's own colours
        assert not RAW - {"\n"} & set(shown), (name, RAW & set(shown))
    html = said["report.html"].decode()
    assert "<script" not in html
    assert "default-src 'none'" in html
    ET.fromstring(said["junit.xml"])
    (it,) = json.loads(said["report.json"])["implementations"]
    assert not RAW & set(json.dumps(it, ensure_ascii=False))
    assert done.stderr.count(b"run with the rights of user") == 1


def test_smoke_and_traces_show_nothing_as_it_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["smoke", "--manifest", str(evil(tmp_path)), "--time-scale", "0.1"]) == 1
    traces = tmp_path / "traces"
    traces.mkdir()
    (traces / "\x1b[2J\u202e.jsonl").write_bytes(b"\xff\x1b[2J" * 1000 + b"\n")
    os.mkfifo(traces / "pipe.jsonl")
    assert not cli._check_traces(traces)
    said = "".join(capfd.readouterr())
    assert not RAW - {"\n"} & set(said)
    assert r"trace " in said
    assert r"\u202eevil" in said


# ------------------------------------------------------------------------------------ without an end

ENDLESS = """
contract = "1.0"
spec = "1.0"

[implementation]
name = "endless"
language = "shell"

[codec]
command = ["sh", "-c", "exec cat /dev/zero"]

[pool]
command = ["sh", "-c", "POOL", "{listen}", "{max}"]
"""


def load(folder: Path, pool: str = "exec cat /dev/zero") -> manifest.Manifest:
    (folder / "endless.toml").write_text(ENDLESS.replace("POOL", pool))
    return manifest.load(folder / "endless.toml")


def test_codec_without_an_end(tmp_path: Path) -> None:
    codec = CodecUnderTest(load(tmp_path), tmp_path / "log")
    try:
        with pytest.raises(ContractError, match="more than 1048576 octets without the end of a line"):
            codec.ask({"cut": []})
    finally:
        codec.close()


def test_ready_without_an_end(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="did not say READY: it wrote") as found:
        PoolUnderTest(load(tmp_path), {}, tmp_path / "log")
    assert len(str(found.value)) <= port_output.MOST + 100


def test_log_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends where the limit is, and is short when its case is over; the case fails by it."""
    monkeypatch.setattr(port_output, "MOST_WRITTEN", 1 << 20)
    monkeypatch.setattr(port_output, "KEPT", 1 << 10)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    endless = load(tmp_path, "exec cat /dev/zero >&2")

    def case() -> None:
        with port_output.short_logs(tmp_path), limits.files(port_output.MOST_WRITTEN):
            with pytest.raises(ContractError, match="did not say READY"):
                PoolUnderTest(endless, {}, tmp_path / "log")
            assert (tmp_path / "log").stat().st_size == 1 << 20

    with pytest.raises(RuntimeError, match="the port wrote 1 MB to its output or error, which is all that it may: log"):
        case()
    assert (tmp_path / "log").stat().st_size <= 4 << 10  # a zero is shown in four characters
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == before


@pytest.mark.parametrize(
    "ends", ["exec cat /dev/zero", "trap '' TERM INT HUP; sleep 60 & wait", "exec >&- 2>&-; sleep 60"]
)
def test_build_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    """All that it has started ends with it."""
    monkeypatch.setattr(build, "LIMIT", 0.5)
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"build.command had not ended after 0\.5 s"):
        build.build(tmp_path / "m.toml", ["sh", "-c", ends], [])
    assert time.monotonic() - began < 30


def test_build_that_leaves_its_output_to_somebody(tmp_path: Path) -> None:
    command = ["sh", "-c", "sleep 3 & echo well"]
    began = time.monotonic()
    build.build(tmp_path / "m.toml", command, [])
    assert time.monotonic() - began < 3


# -------------------------------------------------------------------------------------- whose rights


@pytest.mark.parametrize(("user", "said"), [(0, "WARNING: they may do anything here"), (12345, "number 12345.")])
def test_whose_rights_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], user: int, said: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    build = '\n[build]\ncommand = ["sh", "-c", "echo built; exit 1"]\n'
    (tmp_path / "m.toml").write_text(ENDLESS.replace("[codec]", build + "[codec]"))
    for command in ("run", "smoke"):
        assert main([command, "--manifest", str(tmp_path / "m.toml")]) == 2
        first, second, third = capfd.readouterr().err.splitlines()
        assert "The commands of a manifest, its build included, run with the rights of user" in first
        assert said in first
        assert "build.command failed with status 1" in second
        assert third == "built"
