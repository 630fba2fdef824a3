"""Starts an example for a test, as its README starts it, on a port of the test's own."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snippets import Server, Sitting, free_port

EXAMPLES = Path(__file__).parents[1]


@dataclass(frozen=True)
class Running:
    """An example that runs."""

    port: int
    status_path: Path
    server: Server

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, 20)

    def status(self) -> dict[str, Any]:
        """The status document."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.status_path))
            with sock.makefile() as file:
                return json.loads(file.read())

    def until(self, met: Callable[[dict[str, Any]], bool]) -> None:
        """Return when the status document meets ``met``. ``AssertionError`` if it does not in time."""
        deadline = time.monotonic() + 20
        while not met(document := self.status()):
            assert time.monotonic() < deadline, document
            time.sleep(0.01)


@contextlib.contextmanager
def running(name: str, tmp_path: Path, command: str, /, **variables: str) -> Iterator[Running]:
    """The example ``name``, by ``command`` (with ``{port}`` and ``{status}``) and with ``variables`` set.

    At the end it must stop well.
    """
    port, status = free_port(), tmp_path / "status"
    environment = Sitting(EXAMPLES / name).environment | variables
    server = Server(command.format(port=port, status=status), EXAMPLES / name, environment)
    try:
        yield Running(port, status, server.wait())
    except BaseException:
        server.kill()
        print(server.log)
        raise
    server.stop()
