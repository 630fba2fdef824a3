"""What ``conformance/elsewhere`` takes away is really gone, in the processes that it is to be gone from."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from backchannel_server import platform

ELSEWHERE = Path(__file__).parents[2] / "conformance" / "elsewhere"

PRINTS = "import select; print(hasattr(select, 'epoll') or hasattr(select, 'kqueue'))"


def run(code: str, *arguments: str, **options: object) -> str:
    command = [sys.executable, "-c", code, *arguments]
    environment = {"PYTHONPATH": str(ELSEWHERE / "without")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, **options)  # type: ignore[call-overload]
    return str(done.stdout).strip()


def test_no_process_has_a_poller_of_its_system_alone() -> None:
    assert run(PRINTS) == "False"
    assert run(PRINTS, "--worker", "'python' -m backchannel_trio.worker service:handle") == "False", "a parent of such"


@pytest.mark.skipif(platform.POLLERS[0] in ("poll", "select"), reason="this system has no poller to keep")
def test_but_a_worker_on_trio_has() -> None:
    assert run(PRINTS, "-m", "backchannel_trio.worker", "service:handle") == "True"


def test_limits_are_those_of_the_smallest_system() -> None:
    limit = runpy.run_path(str(ELSEWHERE / "__main__.py"))["limit"]
    code = "from resource import *; print(getrlimit(RLIMIT_NPROC), getrlimit(RLIMIT_NOFILE))"
    assert run(code, preexec_fn=limit) == "(160, 160) (1024, 1024)"
