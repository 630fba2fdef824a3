"""Starts a balancer for a test, with the configuration that its README shows."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import EXAMPLES
from snippets import PATH, Server, Sitting

POOL = "python -m backchannel_sync --listen 127.0.0.1:{port} --status {status} --start 4 --max 8 wsgi_server:handle"
# a test's directory is open to nobody but the one who runs it
USER = "user root; " if os.geteuid() == 0 else ""
BALANCERS = {
    "haproxy": "haproxy -W -db -f haproxy.cfg",
    "nginx": f"nginx -p {{directory}} -e stderr -c nginx.conf -g '{USER}daemon off;'",
}


def need(name: str) -> None:
    """Skip a test where this balancer is not installed."""
    if shutil.which(name, path=PATH) is None:
        pytest.skip(f"no {name} here")


@contextlib.contextmanager
def balancer(name: str, tmp_path: Path, port: int, pools: tuple[int, int]) -> Iterator[tuple[Path, Server]]:
    """The balancer ``name`` with its own configuration, on other ports. Yields its directory and its process."""
    directory = tmp_path / name
    shutil.copytree(EXAMPLES / "balancer", directory)
    (directory / "temp").mkdir()
    for config in ("haproxy.cfg", "nginx.conf"):
        text = (directory / config).read_text()
        for old, new in zip(("8000", "8001", "8002"), (port, *pools), strict=True):
            text = text.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
        (directory / config).write_text(text)
    server = Server(BALANCERS[name].format(directory=directory), directory, Sitting(directory).environment)
    try:
        yield directory, server.wait()
    except BaseException:
        server.kill()
        print(server.log)
        raise
    server.stop()


def tell_haproxy(directory: Path, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(os.path.relpath(directory / "admin.sock"))
        admin.sendall(f"{command}\n".encode())
        with admin.makefile() as answer:
            return answer.read()


def sessions(directory: Path, server: str) -> int:
    """How many requests are with ``server``, whatever they came by."""
    rows = [row.split(",") for row in tell_haproxy(directory, "show stat -1 4 -1").splitlines() if row]
    column = rows[0].index("scur")
    return sum(int(row[column]) for row in rows if row[1] == server)
