"""The other examples: what their READMEs do not show."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running import EXAMPLES, running

sys.path.insert(0, str(EXAMPLES / "chat"))

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")


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


# ------------------------------------------------------------------------------------------- tls


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", f"{tmp_path}/key.pem", "-out", f"{tmp_path}/certificate.pem"]
    subprocess.run(["openssl", "req", "-x509", *key, *names, *files], capture_output=True, check=True)
    return tmp_path


TLS = "python -m backchannel_sync --listen 127.0.0.1:{port} --status {status} --capacity 100 --workers 2 echo:handle"


@needs_openssl
def test_tls_echo(certificate: Path) -> None:
    variables = {"CERTIFICATE": f"{certificate}/certificate.pem", "KEY": f"{certificate}/key.pem"}
    with running("tls", certificate, TLS, **variables) as service:
        context = ssl.create_default_context(cafile=certificate / "certificate.pem")
        silent = service.connect()  # one that never shakes hands delays nobody
        with service.connect() as nonsense:
            nonsense.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                nonsense.recv(1000)
        with context.wrap_socket(service.connect(), server_hostname="localhost") as client:
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
            client.unwrap().close()
        arguments = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{service.port}"]
        client = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        with client:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(b"from openssl\n")
            assert client.stdout.read(13) == b"from openssl\n"
            client.kill()
        silent.close()


def read(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += client.recv(count - len(data))
    return data


# ------------------------------------------------------------------------------------------ chat

CHAT = "python -m backchannel_trio --listen 127.0.0.1:{port} --status {status} --capacity 100 --workers 3 chat:handle"


def test_chat_places_by_load_and_reaches_all_workers(tmp_path: Path) -> None:
    from crowd import Client

    with (
        running("chat", tmp_path, CHAT, BUS=str(tmp_path / "bus")) as service,
        contextlib.ExitStack() as stack,
    ):

        def come() -> Client:
            client = Client(*service.address)
            stack.callback(client.socket.close)
            return client

        crowd = [come() for _ in range(9)]
        slots = [client.welcome["slot"] for client in crowd]
        assert sorted(slots) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        for number in (0, 4, 8):
            crowd[number].say(f"I am {number}")
            heard = [client.hear() for client in crowd]
            assert heard == [{"slot": slots[number], "text": f"I am {number}"}] * 9
        # three leave slot 1: the next three go there
        leaving = [client for client in crowd if client.welcome["slot"] == 1]
        for client in leaving:
            client.leave()
        service.until(lambda document: document["workers"][1]["open"] == 0)
        assert [come().welcome["slot"] for _ in range(3)] == [1, 1, 1]


def test_chat_serves_its_page_and_refuses_nonsense(tmp_path: Path) -> None:
    with running("chat", tmp_path, CHAT, BUS=str(tmp_path / "bus")) as service:
        client = http.client.HTTPConnection(*service.address, timeout=20)
        client.request("GET", "/")
        response = client.getresponse()
        assert response.status == 200
        assert b"new WebSocket" in response.read()
        client.close()
        with service.connect() as nonsense:
            nonsense.sendall(b"\x00\x01\x02\r\n\r\n")
            assert nonsense.recv(100) == b""


# ------------------------------------------------------------------------------------ mail filter


def test_mail_filter(tmp_path: Path) -> None:
    command = "python -m backchannel_sync --listen 127.0.0.1:{port} --status {status} --workers 2 filter:handle"

    with running("mailfilter", tmp_path, command) as service:

        def ask(data: bytes) -> bytes:
            with service.connect() as client:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                return client.makefile("rb").read()

        ham = b"Date: Tue, 3 Jul 2007 18:06:00 +0000\r\nSubject: lunch\r\n\r\nat noon?\r\n"
        assert ask(b"PING SPAMC/1.5\r\n") == b"SPAMD/1.5 0 PONG\r\n"
        head = b"CHECK SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(ham)
        assert b"Spam: False ; 0.0 / 5.0\r\n" in ask(head + ham)
        assert ask(b"PROCESS SPAMC/1.5\r\n\r\n" + ham).endswith(ham)
        assert b"EX_PROTOCOL" in ask(b"EHLO\r\n")
        assert b"EX_PROTOCOL" in ask(b"CHECK SPAMC/1.5\r\nContent-length: many\r\n\r\n")
        assert b"EX_IOERR" in ask(b"CHECK SPAMC/1.5\r\nContent-length: 99999999\r\n\r\n")
        assert b"EX_UNAVAILABLE" in ask(b"TELL SPAMC/1.5\r\n\r\n")
        assert ask(head + ham[:10]) == b""
        odd = b"Content-Type: text/plain; charset=no-such\r\n\r\n\xff\xfe http://10.0.0.1/\r\n"
        assert ask(b"SYMBOLS SPAMC/1.5\r\n\r\n" + odd).endswith(b"MISSING_DATE,URI_NUMERIC\r\n")
        assert service.status()["counters"]["deaths"] == 0


def test_chat_in_a_browser(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def shown(driver: Any) -> tuple[str, str]:
        return driver.find_element(By.ID, "where").text, driver.find_element(By.ID, "said").text

    with (
        # browsers open connections that they do not use: these are not to be waited for
        running("chat", tmp_path, CHAT, BUS=str(tmp_path / "bus"), PATIENCE="1") as service,
        contextlib.ExitStack() as stack,
    ):
        waiting = WebDriverWait(browser, 20)
        first = browser.current_window_handle
        stack.callback(browser.get, "about:blank")
        browser.get(f"http://127.0.0.1:{service.port}/")
        waiting.until(lambda driver: shown(driver)[0].startswith("You are in slot"))
        browser.switch_to.new_window("tab")
        stack.callback(browser.switch_to.window, first)
        stack.callback(browser.close)
        browser.get(f"http://127.0.0.1:{service.port}/")
        waiting.until(lambda driver: shown(driver)[0].startswith("You are in slot"))
        slot = shown(browser)[0].split()[4]
        browser.find_element(By.TAG_NAME, "input").send_keys("<b>hello</b>\n")
        waiting.until(lambda driver: shown(driver)[1] == f"slot {slot}: <b>hello</b>")
        browser.switch_to.window(first)
        waiting.until(lambda driver: shown(driver)[1] == f"slot {slot}: <b>hello</b>")
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
        browser.switch_to.window(next(handle for handle in browser.window_handles if handle != first))


# ------------------------------------------------------------------------------------------ loop


LOOP = f"python -m backchannel_sync {POOL} --capacity 100 --workers 2 --worker 'python asyncio_worker.py told:handle'"
TOLD = "async def handle(reader, writer):\n    writer.write(await reader.readline())\n    await writer.drain()\n"


def test_own_loop_drains_and_keeps_its_workers_when_the_code_is_broken(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text(TOLD)
    with running("loop", tmp_path, LOOP, PYTHONPATH=str(tmp_path)) as service:
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
