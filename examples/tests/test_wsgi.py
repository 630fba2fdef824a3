"""The WSGI example, through curl and through sockets that misbehave."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from running import Running, running

COMMAND = (
    "python -m backchannel_sync --listen 127.0.0.1:{port} --status {status} --max 6 --max-spare 6 wsgi_server:handle"
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path = tmp_path_factory.mktemp("wsgi")
    (path / "strict.py").write_text(
        "from wsgiref.validate import validator\n"
        "from wsgi_app import application\n"
        "application = validator(application)\n"
    )
    # wsgiref's validator finds whatever PEP 3333 forbids, on either side
    with running("wsgi", path, COMMAND, APP="strict:application", PYTHONPATH=str(path), TIMEOUT="0.2") as service:
        yield service


def request(service: Running, method: str, target: str, **arguments: object) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(*service.address, timeout=20)
    try:
        connection.request(method, target, **arguments)  # type: ignore[arg-type]
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def raw(service: Running, data: bytes) -> bytes:
    with service.connect() as connection:
        connection.sendall(data)
        return connection.makefile("rb").read()


def test_get(service: Running) -> None:
    response, body = request(service, "GET", "/")
    assert (response.status, response.version, response.getheader("Connection")) == (200, 11, "close")
    assert body.startswith(b"hello from ")


def test_head_has_no_body(service: Running) -> None:
    answer = raw(service, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


def test_a_body_in_chunks_comes_back(service: Running) -> None:
    pieces = [bytes([65 + number]) * 5000 for number in range(26)]
    _, body = request(service, "POST", "/", body=iter(pieces), encode_chunked=True)
    assert body == b"".join(pieces)


def test_an_error_of_the_application_is_a_500_and_no_more(service: Running) -> None:
    response, _ = request(service, "GET", "/raise")
    assert response.status == 500
    assert request(service, "GET", "/")[0].status == 200


def test_what_is_found_in_the_request(tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    for name in sorted(environ):\n"
        "        yield f'{name}={environ[name]}\\n'.encode()\n"
    )
    with running("wsgi", tmp_path, COMMAND, APP="shown:application", PYTHONPATH=str(tmp_path)) as service:
        lines = b"GET /a%20b?c=%20 HTTP/1.1\r\nHost: x\r\nA: 1\r\na: 2\r\nCookie: d=e\r\nCookie: f=g\r\nX_Y: z\r\n\r\n"
        answer = raw(service, lines)
        assert b"\r\nTransfer-Encoding: chunked\r\n" in answer
        assert answer.endswith(b"\r\n0\r\n\r\n")
        for line in (b"PATH_INFO=/a b", b"QUERY_STRING=c=%20", b"HTTP_A=1, 2", b"HTTP_COOKIE=d=e; f=g"):
            assert b"\r\n" + line + b"\n" in answer
        assert b"X_Y" not in answer
        old = raw(service, b"GET / HTTP/1.0\r\n\r\n")
        assert b"Transfer-Encoding" not in old
        assert b"SERVER_PROTOCOL=HTTP/1.0\n" in old
        # an offer to speak something else is passed over, and so is a second request
        offer = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nGET /two HTTP/1.1\r\n\r\n"
        answer = raw(service, offer)
        assert answer.count(b"HTTP/1.1 200") == 1
        assert b"PATH_INFO=/\n" in answer


def test_a_header_cannot_smuggle_another(tmp_path: Path) -> None:
    (tmp_path / "split.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Location', environ['QUERY_STRING'] + '\\r\\nSet-Cookie: a=b')])\n"
        "    return [b'']\n"
    )
    with running("wsgi", tmp_path, COMMAND, APP="split:application", PYTHONPATH=str(tmp_path)) as service:
        answer = raw(service, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 500")
        assert b"Set-Cookie" not in answer


def test_a_head_has_an_end(service: Running) -> None:
    assert raw(service, b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"y" * 100_000).startswith(b"HTTP/1.1 431")
    assert raw(service, b"PRI * HTTP/2.0\r\nHost: x\r\n\r\n").startswith((b"HTTP/1.1 505", b"HTTP/1.1 400"))


@pytest.mark.parametrize(
    "data", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n"]
)
def test_what_is_no_http_is_refused(service: Running, data: bytes) -> None:
    assert raw(service, data).startswith(b"HTTP/1.1 400")


def test_who_sends_more_than_is_read_still_gets_the_response(service: Running) -> None:
    response, _ = request(service, "PUT", "/", body=b"x" * 2_000_000)
    assert response.status == 200


def test_a_client_that_has_sent_all_is_not_waited_for(tmp_path: Path) -> None:
    command = "python -m backchannel_sync --listen 127.0.0.1:{port} --status {status} --workers 1 wsgi_server:handle"
    with running("wsgi", tmp_path, command, TIMEOUT="60") as service, contextlib.ExitStack() as stack:
        for _ in range(3):  # none of them closes, and there is one worker
            client = stack.enter_context(service.connect())
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with client.makefile("rb") as answer:
                assert answer.read().startswith(b"HTTP/1.1 200")


def test_a_silent_client_does_not_keep_a_worker(service: Running) -> None:
    assert raw(service, b"") == b""
    assert raw(service, b"GET / HTTP/1.1\r\n") == b""


def test_requests_at_once_are_served_by_as_many_workers(service: Running) -> None:
    with ThreadPoolExecutor(6) as pool:
        bodies = list(pool.map(lambda _: request(service, "GET", "/sleep?seconds=0.5")[1], range(6)))
    assert len(set(bodies)) > 2, "the pool did not grow"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl_waits_for_100_continue(service: Running, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"0123456789" * 200_000)
    url = f"http://127.0.0.1:{service.port}/"
    arguments = [
        "-sv",
        "-H",
        "Expect: 100-continue",
        "--data-binary",
        f"@{tmp_path}/big",
        "-o",
        f"{tmp_path}/back",
        url,
    ]
    done = subprocess.run(["curl", *arguments], capture_output=True, text=True, timeout=30, check=True)
    assert "100 Continue" in done.stderr
    assert (tmp_path / "back").read_bytes() == (tmp_path / "big").read_bytes()


def test_a_request_over_its_limit_costs_its_worker_and_no_other(tmp_path: Path) -> None:
    with running("wsgi", tmp_path, COMMAND, LIMIT="1") as service:
        assert raw(service, b"GET /sleep?seconds=60 HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        response, body = request(service, "GET", "/")
        assert (response.status, response.getheader("Content-Length")) == (200, str(len(body)))
        service.until(lambda document: document["counters"]["deaths"] == 1)
