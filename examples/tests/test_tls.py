"""The TLS echo: clients that are no good, and new certificates."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Running, running

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")

TLS = "python -m backchannel_sync --listen 127.0.0.1:{port} --status {status} --capacity 100 --workers 2 echo:handle"


def certify(directory: Path, *options: str) -> dict[str, str]:
    """Make a certificate for localhost and its key; return what names them to the example."""
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", *(options or ["-nodes"])]
    files = ["-keyout", f"{directory}/key.pem", "-out", f"{directory}/certificate.pem"]
    subprocess.run(["openssl", "req", "-x509", *key, *names, *files], capture_output=True, check=True)
    return {"CERTIFICATE": f"{directory}/certificate.pem", "KEY": f"{directory}/key.pem"}


def trusting(directory: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=directory / "certificate.pem")


def shake(service: Running, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(service.connect(), server_hostname="localhost")


def read(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += client.recv(count - len(data))
    return data


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def service(directory: Path) -> Iterator[Running]:
    with running("tls", directory, TLS, **certify(directory), TIMEOUT="2") as service:
        yield service
        assert service.status()["counters"]["deaths"] == 0
    assert "Traceback" not in service.server.log, "what clients do is not an error of the service"
    assert " ERROR " not in service.server.log


def test_echo(service: Running, directory: Path) -> None:
    context = trusting(directory)
    silent = service.connect()  # one that never shakes hands delays nobody
    with shake(service, context) as client:
        data = b"0123456789abcdef" * 65536
        client.sendall(data[:1000])
        assert read(client, 1000) == data[:1000]
        client.setblocking(False)
        back, sent = b"", 0
        client.settimeout(20)
        while len(back) < len(data):
            if sent < len(data):
                sent += client.send(data[sent : sent + 32768])
            back += client.recv(65536)
        assert back == data
        client.unwrap().close()  # the goodbye is answered
    silent.close()
    arguments = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{service.port}"]
    openssl = subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    with openssl:
        assert openssl.stdin is not None
        assert openssl.stdout is not None
        openssl.stdin.write(b"from openssl\n")
        assert openssl.stdout.read(13) == b"from openssl\n"
        openssl.kill()


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01"], ids=["nothing", "half a hello"])
def test_a_client_that_does_not_shake_hands_is_closed(service: Running, data: bytes) -> None:
    with service.connect() as client:
        client.sendall(data)
        assert client.recv(100) == b""


def test_a_client_that_falls_silent_is_closed(service: Running, directory: Path) -> None:
    with shake(service, trusting(directory)) as client:
        client.sendall(b"hi")
        assert read(client, 2) == b"hi"
        assert client.recv(100) == b""


def gone(service: Running) -> int:
    return service.server.log.count(" INFO a client went: ")


def test_a_handshake_that_fails_is_one_line(service: Running, directory: Path) -> None:
    def plain_http(client: socket.socket) -> None:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")

    def noise(client: socket.socket) -> None:
        client.sendall(b"\xff" * 10_000)

    def reset(client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()

    def early_end(client: socket.socket) -> None:
        client.sendall(b"\x16\x03\x01\x02\x00\x01")
        client.close()

    def at_once(client: socket.socket) -> None:
        client.close()

    def old_version(client: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.wrap_socket(client)

    def no_trust(client: socket.socket) -> None:
        ssl.create_default_context().wrap_socket(client, server_hostname="localhost")

    for way in (plain_http, noise, reset, early_end, at_once, old_version, no_trust):
        before, lines = gone(service), len(service.server.lines)
        client = service.connect()
        with contextlib.suppress(OSError):
            way(client)
            while client.recv(1000):
                pass
        client.close()
        service.until(lambda document: sum(worker["open"] for worker in document["workers"]) == 0)
        with shake(service, trusting(directory)) as other:  # served after it by the same worker, whose line is out
            other.sendall(b"hi")
            assert read(other, 2) == b"hi"
            other.unwrap().close()
        assert (gone(service) - before, len(service.server.lines) - lines) == (1, 1), way.__name__


def test_a_client_may_not_renegotiate(service: Running, directory: Path) -> None:
    arguments = ["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{service.port}"]
    done = subprocess.run(arguments, input="R\n", capture_output=True, text=True, timeout=60)
    assert "RENEGOTIATING" in done.stdout + done.stderr
    assert "no renegotiation" in done.stdout + done.stderr


# ---------------------------------------------------------------------------------- certificates


def serial(service: Running) -> str:
    return ssl.get_server_certificate(service.address)


def reload(service: Running) -> None:
    generation = service.status()["generation"]
    service.server.process.send_signal(signal.SIGHUP)
    service.until(lambda document: document["generation"] == generation + 1 and not document["reloading"])


def test_a_new_certificate_comes_with_a_reload(tmp_path: Path) -> None:
    with running("tls", tmp_path, TLS, **certify(tmp_path), TIMEOUT="60") as service:
        with shake(service, trusting(tmp_path)) as old:
            before = serial(service)
            certify(tmp_path)
            assert serial(service) == before, "not before"
            reload(service)
            assert serial(service) == (tmp_path / "certificate.pem").read_text() != before
            old.sendall(b"hi")
            assert read(old, 2) == b"hi", "who is there goes on"
            old.unwrap().close()
        # a pair that is none: the old workers stay, with what they have
        now = serial(service)
        (tmp_path / "other").mkdir()
        certify(tmp_path / "other")
        (tmp_path / "other" / "key.pem").replace(tmp_path / "key.pem")
        reload(service)
        assert serial(service) == now
    assert "KEY_VALUES_MISMATCH" in service.server.log


def test_a_key_with_a_passphrase_is_an_error_and_not_a_question(tmp_path: Path) -> None:
    variables = certify(tmp_path, "-passout", "pass:secret")
    with pytest.raises(AssertionError, match="did not get ready"), running("tls", tmp_path, TLS, **variables):
        pass


def test_a_key_that_everybody_may_read_is_a_warning(tmp_path: Path) -> None:
    variables = certify(tmp_path)
    (tmp_path / "key.pem").chmod(0o644)
    with running("tls", tmp_path, TLS, **variables) as service:
        pass
    assert "everybody on this machine may read" in service.server.log
