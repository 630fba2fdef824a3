"""What a manifest's ``[build]`` asks for, done before its programs are looked for: a port in a compiled language is
tested from a fresh clone with the one command that tests any other.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .errors import Mistake

__all__ = ["build"]

LIMIT = 600.0
"""Seconds that a build may take."""


def build(manifest: Path, command: Sequence[str], needs: Sequence[str]) -> None:
    """Run ``command``. Raises :class:`Mistake` that says what is missing, or what the build said last."""
    for program in (*needs, command[0]):
        if shutil.which(program) is None:
            raise Mistake(
                f"manifest {manifest}: it is built with {program!r}, and there is no such program here; "
                "install it, or leave this manifest out"
            )
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        raise Mistake(f"manifest {manifest}: build.command had not ended after {LIMIT:g} s") from None
    if done.returncode:
        said = done.stdout.decode(errors="replace")[-1500:].strip() or "it said nothing"
        raise Mistake(f"manifest {manifest}: build.command failed with status {done.returncode}:\n{said}")
