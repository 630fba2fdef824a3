"""Role *codec*: an implementation encodes and decodes frames for the suite.

Each question is one JSON line on its standard input, each answer one JSON line on its standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
from pathlib import Path
from typing import Any

from . import processes
from .errors import ContractError
from .manifest import DEFAULTS, Manifest
from .port_output import tail
from .waiting import scale

__all__ = ["CodecUnderTest"]

LIMIT = 10.0
LONGEST = 1 << 20
"""Octets of an answer."""


class CodecUnderTest:
    """A running codec command. Raises :class:`ContractError` for anything but a JSON object in answer to a line."""

    def __init__(self, manifest: Manifest, log: Path) -> None:
        self._name = manifest.name
        self._log = log
        role = manifest.roles["codec"]
        environment = {key: manifest.fill(value, DEFAULTS) for key, value in role.environment.items()}
        command = [manifest.fill(word, DEFAULTS) for word in role.command()]
        self._process = processes.start(command, environment, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._buffer = b""

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """One question, and its answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        line = json.dumps(question)
        with contextlib.suppress(BrokenPipeError):
            stdin.write(line.encode() + b"\n")
            stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(LIMIT * scale()):
                    raise ContractError(self._wrong(line, f"nothing within {LIMIT * scale():g} s"))
                part = os.read(stdout.fileno(), 1 << 16)
                if not part:
                    raise ContractError(self._wrong(line, "the end of its output"))
                self._buffer += part
                if len(self._buffer) > LONGEST:
                    raise ContractError(self._wrong(line, f"more than {LONGEST} octets without the end of a line"))
        said, _, self._buffer = self._buffer.partition(b"\n")
        try:
            answer = json.loads(said)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ContractError(self._wrong(line, f"{said[:200]!r}, which is not a JSON object"))
        return answer

    def finish(self) -> int:
        """Close its input, and wait for it to exit; its status."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            return self._process.wait(LIMIT * scale())
        except subprocess.TimeoutExpired:
            raise ContractError(f"the codec of {self._name} did not exit when its input ended") from None

    def close(self) -> None:
        """End it, whatever it does."""
        processes.end(self._process)
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _wrong(self, asked: str, came: str) -> str:
        last = tail(self._log)
        log = f"; its standard error ends:\n{last}" if last else "; it wrote nothing to its standard error"
        return f"the codec of {self._name} was asked {asked[:200]} and answered with {came}{log}"
