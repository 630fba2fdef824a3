"""The units are ones that systemd understands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import EXAMPLES


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    units = []
    for source in sorted((EXAMPLES / "systemd").glob("hello.*")):
        text = source.read_text()
        # the interpreter that the unit starts must be there
        text = text.replace("/opt/hello/.venv/bin/python", sys.executable)
        (tmp_path / source.name).write_text(text)
        units.append(str(tmp_path / source.name))
    assert len(units) == 2

    def verify() -> str:
        done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    assert verify() == ""
    service = tmp_path / "hello.service"
    service.write_text(service.read_text().replace("KillMode=mixed", "KilMode=mixed"))
    assert "KilMode" in verify(), "a check that cannot fail"
