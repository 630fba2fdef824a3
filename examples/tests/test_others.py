"""ASGI, and a worker under a loop of one's own: what their READMEs do not show."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from running import running

# ------------------------------------------------------------------------------------------ asgi


POOL = "--listen 127.0.0.1:{port} --status {status}"
ASGI = f"python -m backchannel_trio {POOL} --capacity 100 --workers 2 asgi_server:service"


def test_asgi_keeps_connections_and_forgets_closed_ones(tmp_path: Path) -> None:
    with running("asgi", tmp_path, ASGI, KEEP_ALIVE="60") as service:
        clients = [http.client.HTTPConnection(*service.address, timeout=20) for _ in range(6)]
        bodies = set()
        for _ in range(3):
            for number, client in enumerate(clients):
                client.request("GET", "/")
                bodies.add((number, client.getresponse().read()))
        assert len(bodies) == 6, "a client's connection stays with its worker"
        assert [worker["open"] for worker in service.status()["workers"]] == [3, 3]
        for client in clients:
            client.close()
        # long before KEEP_ALIVE has passed
        service.until(lambda document: sum(worker["open"] for worker in document["workers"]) == 0)


LIFE = """
import sys

async def application(scope, receive, send):
    assert scope["type"] == "lifespan"
    while True:
        message = await receive()
        print(message["type"], file=sys.stderr)
        await send({"type": f"{message['type']}.complete"})
"""


def ready(document: dict[str, Any]) -> set[int]:
    return {worker["pid"] for worker in document["workers"] if worker["state"] == "READY"}


def test_asgi_application_lives_as_long_as_its_worker(tmp_path: Path) -> None:
    (tmp_path / "life.py").write_text(LIFE)
    with running("asgi", tmp_path, ASGI, APP="life:application", PYTHONPATH=str(tmp_path)) as service:
        assert service.server.log.count("lifespan.startup") == 2, "each worker has started it before the pool is ready"
        (tmp_path / "life.py").write_text(LIFE.replace(".complete", ".failed"))
        before = ready(service.status())
        service.server.process.send_signal(signal.SIGHUP)
        service.until(lambda document: document["generation"] == 2 and not document["reloading"])
        assert ready(service.status()) == before
    assert "LifespanFailureError" in service.server.log
    assert service.server.log.count("lifespan.shutdown") == 2


# ------------------------------------------------------------------------------------------ loop


LOOP = f"python -m backchannel_sync {POOL} --capacity 100 --workers 2 --worker 'python asyncio_worker.py told:handle'"
TOLD = "async def handle(reader, writer):\n    writer.write(await reader.readline())\n    await writer.drain()\n"


def read(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += client.recv(count - len(data))
    return data


def test_own_loop_says_nothing_of_a_line_without_an_end(tmp_path: Path) -> None:
    command = LOOP.replace("told:handle", "hello:handle")
    with running("loop", tmp_path, command) as service:
        with service.connect() as client, contextlib.suppress(ConnectionError):  # it may end before all was sent
            client.sendall(b"x" * 1000000)
            while client.recv(100):
                pass
        with service.connect() as client:
            client.sendall(b"?\n")
            assert client.recv(10) == b"hello from"
        assert "Traceback" not in service.server.log


@pytest.mark.parametrize("parent", ["-m backchannel_sync", "asyncio_parent.py"])
def test_own_loop_drains_and_keeps_its_workers_when_the_code_is_broken(tmp_path: Path, parent: str) -> None:
    (tmp_path / "told.py").write_text(TOLD)
    command = LOOP.replace("-m backchannel_sync", parent)
    with running("loop", tmp_path, command, PYTHONPATH=str(tmp_path)) as service:
        before = ready(service.status())
        (tmp_path / "told.py").write_text("raise OSError('no database')\n")
        service.server.process.send_signal(signal.SIGHUP)
        service.until(lambda document: document["generation"] == 2 and not document["reloading"])
        assert ready(service.status()) == before
        with service.connect() as held:
            service.until(lambda document: sum(worker["open"] for worker in document["workers"]) == 1)
            (tmp_path / "told.py").write_text(TOLD)
            service.server.process.send_signal(signal.SIGHUP)
            service.until(lambda document: not document["reloading"] and not ready(document) & before)
            held.sendall(b"still there?\n")  # by a worker that drains
            assert read(held, 13) == b"still there?\n"
    assert "OSError: no database" in service.server.log
