"""What a balancer lets through to a pool, and what it keeps from it: as its configuration and its page say."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from balancing import BALANCERS, POOL, balancer, need
from running import Running, running
from snippets import free_port

SHOWN = """
import json

def application(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    shown = {name: value for name, value in environ.items() if isinstance(value, str)}
    text = json.dumps(shown | {"body": len(body)}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]
"""


@dataclass
class Front:
    """A balancer with one pool behind it, which is both of its servers."""

    name: str
    port: int
    pool: Running

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 30)

    def ask(self, data: bytes) -> bytes:
        """All that comes back for ``data``. Who is refused while it still sends may see a reset."""
        answer = b""
        with self.connect() as client, contextlib.suppress(ConnectionError):
            client.sendall(data)
            while piece := client.recv(65536):
                answer += piece
        return answer

    def shown(self, *lines: str, body: bytes = b"") -> dict[str, str]:
        """What the application sees of a request with these headers."""
        if body:
            lines += (f"Content-Length: {len(body)}",)
        head = "\r\n".join(["POST /a HTTP/1.1", "Host: example.com", "Connection: close", *lines, "", ""])
        answer = self.ask(head.encode("latin-1") + body)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        seen: dict[str, str] = json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])
        return seen


@pytest.fixture(scope="module", params=BALANCERS)
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    need(request.param)
    path = tmp_path_factory.mktemp(request.param)
    (path / "shown.py").write_text(SHOWN)
    port = free_port()
    with (
        running(
            "wsgi", path, POOL.replace("--max 8", "--max 16"), APP="shown:application", PYTHONPATH=str(path)
        ) as pool,
        balancer(request.param, path, port, (pool.port, pool.port)),
    ):
        yield Front(request.param, port, pool)
        assert pool.status()["counters"]["deaths"] == 0
    assert " ERROR " not in pool.server.log
    assert "Traceback" not in pool.server.log


# --------------------------------------------------------------------------------- slow clients


@pytest.mark.parametrize("length", [1000, 30_000, 1_000_000])
def test_slow_bodies_leave_workers_for_others(front: Front, length: int) -> None:
    over = threading.Event()
    slow: list[socket.socket] = []

    def trickle() -> None:
        while not over.wait(0.1):
            for client in slow:
                with contextlib.suppress(OSError):  # it has been told that it is too slow
                    client.sendall(b"a")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        for _ in range(40):  # more than twice as many as there are workers
            client = front.connect()
            slow.append(client)
            # all but the last tenth at once, so that the buffers of a balancer are full
            client.sendall(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length + b"a" * (length * 9 // 10)
            )
        for _ in range(10):
            begun = time.monotonic()
            assert front.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200 ")
            assert time.monotonic() - begun < 5, "it has waited for those"
        if front.name == "nginx" or length < 32768:
            busy = [worker["open"] for worker in front.pool.status()["workers"]]
            assert sum(busy) <= 1, "not one of them has a worker (a check may)"
    finally:
        over.set()
        thread.join()
        for client in slow:
            client.close()
    front.pool.until(lambda document: sum(worker["open"] for worker in document["workers"]) <= 1)


def test_a_slow_head_is_told_so_or_closed(front: Front) -> None:
    with front.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nA: ")
        assert client.makefile("rb").read()[:12] in (b"", b"HTTP/1.1 408")


def test_bodies_arrive_whole(front: Front) -> None:
    for length in (1, 30_000, 100_000, 3_000_000):
        seen = front.shown(body=b"x" * length)
        assert seen["body"] == length


# ------------------------------------------------------------------------------ who says what


SPOOFED = [
    "X-Forwarded-For: 10.0.0.1",
    "X-Forwarded-For: 10.0.0.2",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 443",
    "X-Forwarded-Prefix: /evil",
    "X-Forwarded-Ssl: on",
    "X-Forwarded-Server: evil.example",
    "Forwarded: for=10.0.0.1;proto=https;host=evil.example",
    "X-Real-IP: 10.0.0.1",
    "X_Forwarded_For: 10.0.0.1",
    "X_Forwarded_Proto: https",
    "X-Forwarded_Host: evil.example",
    "Proxy: http://evil.example",
]


def test_what_a_client_says_of_itself_is_not_passed_on(front: Front) -> None:
    seen = front.shown(*SPOOFED)
    assert seen["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert seen["HTTP_X_FORWARDED_PROTO"] == "http"
    assert seen["HTTP_X_FORWARDED_HOST"] == "example.com"
    assert seen["HTTP_HOST"] == "example.com"
    said = {name: value for name, value in seen.items() if name.startswith("HTTP_")}
    assert "evil" not in str(said)
    assert "10.0.0" not in str(said)
    assert said.keys() & {"HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_PROXY", "HTTP_X_FORWARDED_SSL"} == set()
    assert said.get("HTTP_X_FORWARDED_PORT", "") == ""


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
def test_nobody_changes_the_protocol(front: Front, upgrade: str) -> None:
    lines = [
        "Host: x",
        "Connection: close, Upgrade, HTTP2-Settings",
        f"Upgrade: {upgrade}",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    answer = front.ask("\r\n".join(["GET / HTTP/1.1", *lines, "", ""]).encode())
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert b"HTTP_UPGRADE" not in answer
    assert b"HTTP_HTTP2_SETTINGS" not in answer


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_no_tunnel_and_no_mirror(front: Front, method: str) -> None:
    target = "x:80" if method == "CONNECT" else "/"
    answer = front.ask(f"{method} {target} HTTP/1.1\r\nHost: x:80\r\nConnection: close\r\n\r\n".encode())
    assert answer[:12] in (b"HTTP/1.1 405", b"HTTP/1.1 400"), answer


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: +5",
        "Content-Length: 5, 6",
        "Content-Length : 5",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Host: other",
        "A b: c",
    ],
)
def test_requests_of_two_minds_are_refused(front: Front, head: str) -> None:
    answer = front.ask(f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n\r\n0\r\n\r\nG".encode())
    assert answer[9:10] in (b"4", b"5"), answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_body_has_one_length(front: Front) -> None:
    both = b"POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    answer = front.ask(both + b"GET /two HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    # refused; or it is the chunks that count, for the balancer and the pool alike, and not the 5 octets
    if not answer.startswith(b"HTTP/1.1 400 "):
        assert b'"body": 0' in answer.split(b"HTTP/1.1 200 ")[1]


def test_there_are_limits(front: Front) -> None:
    answer = front.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: " + b"y" * 200_000)
    assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431"), answer
    if front.name == "nginx":
        large = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 99999999\r\n\r\n"
        assert front.ask(large).startswith(b"HTTP/1.1 413 ")


def test_checks_leave_no_noise(tmp_path: Path) -> None:
    need("haproxy")
    with running("wsgi", tmp_path, POOL) as pool, balancer("haproxy", tmp_path, free_port(), (pool.port, pool.port)):
        pool.until(lambda document: document["counters"]["accepted"] >= 6)
        assert len(pool.server.lines) == 1, pool.server.log
