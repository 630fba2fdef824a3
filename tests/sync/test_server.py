"""A server as a user starts it, with warnings as errors: what it says, serves and leaves behind."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HANDLERS = """
def plain(connection):
    if connection.recv(100) == b"fail":
        raise ZeroDivisionError("in the handler")
    connection.sendall(b"hello")

def generator(connection):
    if (yield from connection.recv(100)) == b"fail":
        raise ZeroDivisionError("in the handler")
    yield from connection.sleep(0.01)
    yield from connection.sendall(b"hello" * 200_000)
"""


def connect(address: str) -> socket.socket:
    if address.startswith("unix:"):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(30)
        client.connect(address.removeprefix("unix:"))
        return client
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=30)


class Server:
    """One server process."""

    module = "backchannel_sync"
    handlers = HANDLERS
    before: tuple[str, ...] = ()
    """A command that becomes the server, and its arguments."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        (folder / "handlers_for_tests.py").write_text(self.handlers)
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*self.before, sys.executable, "-W", "error", "-m", self.module, "--ready-fd", "1", *arguments],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout
        self.addresses = self.process.stdout.readline().decode().split()[1:]

    def ask(self, text: bytes, address: str | None = None) -> bytes:
        with connect(address or self.addresses[0]) as client:
            client.sendall(text)
            answer = b""
            try:
                while part := client.recv(1 << 16):
                    answer += part
            except ConnectionResetError:
                pass
            return answer

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(30)
        assert self.process.stdout
        self.process.stdout.close()
        return status


@pytest.fixture(params=["plain", "generator"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    capacity = "1" if request.param == "plain" else "3"
    made = Server(
        tmp_path,
        "--listen",
        "127.0.0.1:0",
        "--capacity",
        capacity,
        "--workers",
        "2",
        f"handlers_for_tests:{request.param}",
    )
    yield made
    if made.process.poll() is None:
        made.stop(signal.SIGINT)


def test_serves_and_stops(server: Server) -> None:
    for _ in range(20):
        assert server.ask(b"hi").startswith(b"hello")
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


def test_handler_that_fails_is_logged_and_the_next_is_served(server: Server) -> None:
    assert server.ask(b"fail") == b""
    assert server.ask(b"hi").startswith(b"hello")
    assert server.stop() == 0
    log = server.log.read_text()
    assert log.count("ZeroDivisionError: in the handler") == 1
    assert log.count("Traceback") == 1


def test_interrupt(server: Server) -> None:
    assert server.stop(signal.SIGINT) == 130


def test_unix_listener_is_removed_at_the_end(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="bc-") as folder:
        path = Path(folder) / "listener"
        server = Server(tmp_path, "--listen", f"unix:{path}", "--socket-mode", "600", "handlers_for_tests:plain")
        assert server.addresses == [f"unix:{path}"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert server.ask(b"hi") == b"hello"
        assert server.stop() == 0
        assert not path.exists()


def test_several_listeners(tmp_path: Path) -> None:
    server = Server(
        tmp_path, "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--workers", "2", "handlers_for_tests:plain"
    )
    assert len(server.addresses) == 2
    for address in server.addresses * 5:
        assert server.ask(b"hi", address) == b"hello"
    assert server.stop() == 0


def test_quota_retires_workers_without_loss(tmp_path: Path) -> None:
    server = Server(
        tmp_path,
        "--listen",
        "127.0.0.1:0",
        "--workers",
        "2",
        "--scaling-pass",
        "0.05",
        "--quota",
        "3",
        "handlers_for_tests:plain",
    )
    for _ in range(30):
        assert server.ask(b"hi") == b"hello"
    assert server.stop() == 0
