"""What a tool prints goes to a full disk, or to somebody who has seen enough: no traceback, and the right status."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HANDLER = "def handle(connection):\n    connection.recv(9)\n"
FRAME = "10490000 10100000 00000000 00000000 00000001\n"
TOOLS = {
    "top": ("top", "{}/status"),
    "json": ("top", "--json", "{}/status"),
    "prometheus": ("top", "--prometheus", "{}/status"),
    "pid": ("top", "--pid", "{}/status"),
    "rates": ("top", "--rates", "--interval", "0.05", "{}/status"),
    "reload": ("reload", "{}/status"),
    "trace": ("trace", "{}/frames"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One with a pool's status socket, and a capture."""
    made = tmp_path_factory.mktemp("pool")
    (made / "frames").write_text(FRAME)
    (made / "quiet.py").write_text(HANDLER)
    reader, writer = os.pipe()
    options = ("--listen", "127.0.0.1:0", "--status", "status", "--ready-fd", str(writer))
    command = (sys.executable, "-m", "backchannel_sync", *options, "quiet:handle")
    with subprocess.Popen(command, cwd=made, pass_fds=[writer], stderr=subprocess.DEVNULL) as process:
        os.close(writer)
        try:
            assert os.read(reader, 100)
            yield made
        finally:
            process.terminate()
            os.close(reader)


def run(folder: Path, tool: str, stdout: int) -> subprocess.CompletedProcess[str]:
    name, *arguments = (word.format(folder) for word in TOOLS[tool])
    command = [sys.executable, "-m", f"backchannel_tools.{name}", *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("tool", TOOLS)
def test_full_disk(folder: Path, tool: str) -> None:
    """That is said. A reload that has succeeded has succeeded."""
    with open("/dev/full", "wb") as full:
        done = run(folder, tool, full.fileno())
    assert "standard output cannot be written: No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.returncode == (0 if tool == "reload" else 1)


@pytest.mark.parametrize("tool", TOOLS)
def test_reader_that_has_gone(folder: Path, tool: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run(folder, tool, writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
