"""The chat, in a browser, and with clients that misbehave."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import EXAMPLES, Running, running

sys.path.insert(0, str(EXAMPLES / "chat"))

CHAT = "python -m backchannel_trio --listen 127.0.0.1:{port} --status {status} --capacity 100 --workers 3 chat:handle"
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
ASKED = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY}
HI = b"\x81\x82\0\0\0\0hi"
GOODBYE = b"\x88\x82\0\0\0\0\x03\xe8"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path = tmp_path_factory.mktemp("chat")
    with running("chat", path, CHAT, BUS=str(path / "bus")) as service:
        yield service
    assert "Traceback" not in service.server.log, "what clients do is not an error of the chat"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path = tmp_path_factory.mktemp("hasty")
    with running("chat", path, CHAT, BUS=str(path / "bus"), TIMEOUT="3", SILENCE="0.5") as service:
        yield service
    assert "Traceback" not in service.server.log, "what clients do is not an error of the chat"


def request(service: Running, headers: dict[str, str], method: str = "GET", version: str = "1.1") -> bytes:
    """A request for a WebSocket, as it goes out."""
    fields = {"Host": f"127.0.0.1:{service.port}"} | headers
    lines = [f"{method} / HTTP/{version}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode()


def answer(service: Running, data: bytes) -> bytes:
    """All that comes back for ``data``, until the connection ends; a reset would be an error."""
    with service.connect() as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return client.makefile("rb").read()


def opened(service: Running, **headers: str) -> socket.socket:
    """A WebSocket that is open and has been welcomed."""
    client = service.connect()
    client.sendall(request(service, ASKED | headers))
    file = client.makefile("rb", buffering=0)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += file.read(1) or pytest.fail(f"closed after {head!r}")
    assert head.startswith(b"HTTP/1.1 101 "), head
    assert frame(client)[0] == 1
    return client


def frame(client: socket.socket) -> tuple[int, bytes]:
    """The next frame: its opcode and payload."""
    first, length = exactly(client, 2)
    assert first & 0x80
    if length == 126:
        length = int.from_bytes(exactly(client, 2), "big")
    return first & 0x0F, exactly(client, length)


def exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = client.recv(count - len(data))
        assert piece, "closed"
        data += piece
    return data


def farewell(client: socket.socket) -> int:
    """The status that the service closes with, all else left aside."""
    while (got := frame(client))[0] != 8:
        pass
    return int.from_bytes(got[1][:2], "big")


# ---------------------------------------------------------------------------------- chatting


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


def test_a_drain_sends_everybody_away_and_cuts_nobody(tmp_path: Path) -> None:
    with running("chat", tmp_path, CHAT, BUS=str(tmp_path / "bus"), TIMEOUT="3") as service:
        with opened(service) as client, opened(service) as deaf:
            service.server.process.send_signal(signal.SIGHUP)
            assert farewell(client) == 1001
            client.sendall(GOODBYE)
            assert client.recv(1) == b""
            assert farewell(deaf) == 1001  # and it does not answer
            assert deaf.recv(1) == b""
        service.until(lambda document: document["generation"] == 2 and not document["reloading"])
        opened(service).close()
    assert "Traceback" not in service.server.log
    assert " WARNING " not in service.server.log


def test_a_worker_that_ends_takes_its_socket_with_it(tmp_path: Path) -> None:
    with running("chat", tmp_path, CHAT, BUS=str(tmp_path / "bus")) as service, opened(service) as client:
        assert len(list((tmp_path / "bus").iterdir())) == 1
        service.server.process.send_signal(signal.SIGTERM)
        assert farewell(client) == 1001
    assert list((tmp_path / "bus").iterdir()) == []


def test_what_is_sent_behind_the_request_is_heard(service: Running) -> None:
    with service.connect() as client:
        client.sendall(request(service, ASKED) + HI)
        heard = b""
        while b'"text": "hi"' not in heard:
            heard += client.recv(1000) or pytest.fail(f"closed after {heard!r}")


# --------------------------------------------------------------------------------------- the bus


def test_nothing_that_is_not_a_dead_workers_socket_is_removed(tmp_path: Path) -> None:
    bus = tmp_path / "bus"
    bus.mkdir()
    (bus / "accounts.db").write_text("precious")
    (bus / "directory").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, socket.socket(socket.AF_UNIX) as stream:
        other.bind(str(bus / "other"))
        stream.bind(str(bus / "stream"))
    # a socket that nobody hears at, but no worker's
    with running("chat", tmp_path, CHAT, BUS=str(bus)) as service:
        (bus / f"{service.port}-0123456789ab").write_text("of a worker's name, and precious")
        (bus / f"{service.port}-ba9876543210").symlink_to(bus / "accounts.db")
        with opened(service) as one, opened(service) as two:
            one.sendall(HI)
            assert b"hi" in frame(one)[1]
            assert b"hi" in frame(two)[1]
    left = {path.name for path in bus.iterdir()}
    mine = {f"{service.port}-0123456789ab", f"{service.port}-ba9876543210"}
    assert left == {"accounts.db", "directory", "other", "stream", *mine}


def test_the_socket_of_a_worker_that_was_killed_is_removed(tmp_path: Path) -> None:
    bus = tmp_path / "bus"
    with running("chat", tmp_path, CHAT, BUS=str(bus)) as service, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(opened(service))
        names = set(bus.iterdir())
        assert len(names) == 3
        victim = service.status()["workers"][0]["pid"]
        os.kill(victim, signal.SIGKILL)
        service.until(lambda document: document["counters"]["deaths"] == 1 and document["board"] == "Ibb")
        with opened(service) as late:  # in a new worker, as that one holds the fewest
            late.sendall(HI)
            assert b"hi" in frame(late)[1]
            now = set(bus.iterdir())
        assert len(now & names) == 2
        assert len(now) == 3


def test_two_services_in_one_directory_hear_nothing_of_each_other(tmp_path: Path) -> None:
    bus = str(tmp_path / "bus")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        running("chat", tmp_path / "a", CHAT, BUS=bus) as a,
        running("chat", tmp_path / "b", CHAT, BUS=bus) as b,
        opened(a) as ours,
        opened(b) as theirs,
    ):
        ours.sendall(HI)
        assert b'"text": "hi"' in frame(ours)[1]
        theirs.sendall(HI.replace(b"hi", b"ho"))
        assert b'"text": "ho"' in frame(theirs)[1], "the first that they hear"


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bus").mkdir()
    (tmp_path / "bus").chmod(0o777)
    with (
        pytest.raises(AssertionError, match="others may write there"),
        running("chat", tmp_path, CHAT, BUS=str(tmp_path / "bus")),
    ):
        pass


# ------------------------------------------------------------------------- refused, with an answer


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:1", ""])
def test_a_page_of_another_site_may_not_connect(service: Running, origin: str) -> None:
    assert answer(service, request(service, ASKED | {"Origin": origin})).startswith(b"HTTP/1.1 403 ")


def test_its_own_page_and_clients_that_are_no_browsers_may(service: Running, tmp_path: Path) -> None:
    opened(service, Origin=f"http://127.0.0.1:{service.port}").close()
    opened(service).close()
    with running("chat", tmp_path, CHAT, BUS=str(tmp_path / "bus"), ORIGINS="https://chat.example") as behind:
        opened(behind, Origin="https://chat.example").close()
        own = request(behind, ASKED | {"Origin": f"http://127.0.0.1:{behind.port}"})
        assert answer(behind, own).startswith(b"HTTP/1.1 403 "), "where sites are named, no others may"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Key": "%"}, 400),
        ({"Connection": "keep-alive"}, 400),
        ({"Host": "\xe9.example"}, 400),
        ({"Content-Length": "2"}, 400),
    ],
    ids=str,
)
def test_a_bad_handshake_is_answered(service: Running, headers: dict[str, str], status: int) -> None:
    got = answer(service, request(service, ASKED | headers))
    assert got.startswith(b"HTTP/1.1 %d " % status), got
    if status == 426:
        assert b"\r\nsec-websocket-version: 13\r\n" in got.lower()


@pytest.mark.parametrize("missing", ["Sec-WebSocket-Key", "Sec-WebSocket-Version"])
def test_a_handshake_without_a_header_is_answered(service: Running, missing: str) -> None:
    headers = {name: value for name, value in ASKED.items() if name != missing}
    assert answer(service, request(service, headers)).startswith(b"HTTP/1.1 400 ")


def test_other_requests_are_answered(service: Running) -> None:
    assert answer(service, b"\x00\x01\x02\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert answer(service, b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"y" * 100_000).startswith(b"HTTP/1.1 431 ")
    assert answer(service, b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    assert b"\r\nallow: GET, HEAD\r\n" in answer(service, request(service, {"Content-Length": "2"}, "POST") + b"hi")
    assert answer(service, request(service, ASKED, "POST")).startswith(b"HTTP/1.1 400 ")
    assert answer(service, request(service, ASKED, version="1.0")).startswith(b"HTTP/1.1 400 ")
    head = answer(service, request(service, {}, "HEAD"))
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\n\r\n")
    page = answer(service, b"GET /?a=b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"new WebSocket" in page
    assert b"frame-ancestors 'none'" in page
    assert answer(service, b"") == b""


# ------------------------------------------------------------------------ clients that misbehave


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x81\xfe\x08\x00\0\0\0\0" + b"x" * 2048, 1009),
        (b"\x01\xfe\x07\xd0\0\0\0\0" + b"x" * 2000 + b"\x80\x81\0\0\0\0x", 1009),
        (b"\x81\x82\0\0\0\0\xff\xff", 1007),
        (b"\x82\x82\0\0\0\0hi", 1003),
        (b"\x81\x02hi", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (GOODBYE, 1000),
    ],
    ids=["long", "long in pieces", "no UTF-8", "binary", "not masked", "reserved opcode", "goodbye"],
)
def test_what_may_not_be_said_is_answered_with_a_reason(service: Running, data: bytes, status: int) -> None:
    with opened(service) as client:
        client.sendall(data + HI * 1000)  # and it goes on
        assert farewell(client) == status


def test_a_ping_is_answered(service: Running) -> None:
    with opened(service) as client:
        client.sendall(b"\x89\x82\0\0\0\0hi")
        assert frame(client) == (10, b"hi")


def test_a_client_that_has_gone_without_a_word_is_found_out(hasty: Running) -> None:
    with opened(hasty) as client:
        assert frame(client)[0] == 9, "it is asked"
        client.sendall(b"\x8a\x80\0\0\0\0")
        assert frame(client)[0] == 9, "it has answered, and is asked again"
        assert farewell(client) == 1001


def test_a_client_that_is_silent_before_its_request_is_closed(hasty: Running) -> None:
    with hasty.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        assert client.recv(100) == b""


def test_clients_that_leave_anyhow_leave_nothing_behind(hasty: Running) -> None:
    opened(hasty).close()  # a closed tab
    with opened(hasty) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
    with opened(hasty) as client:  # goodbye, while there is much to say to it
        client.sendall(HI * 50 + GOODBYE)
        assert farewell(client) == 1000
    with opened(hasty) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(ConnectionError):  # closed: it takes nothing
            while True:
                slow.sendall(b"\x81\xfe\x07\xd0\0\0\0\0" + b"x" * 2000)
    hasty.until(lambda document: sum(worker["open"] for worker in document["workers"]) == 0)


# ------------------------------------------------------------------------------------ the browser


def test_chat_in_a_browser(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def shown(driver: Any) -> tuple[str, str]:
        return driver.find_element(By.ID, "where").text, driver.find_element(By.ID, "said").text

    with (
        # browsers open connections that they do not use: these are not to be waited for
        running("chat", tmp_path, CHAT, BUS=str(tmp_path / "bus"), TIMEOUT="1") as service,
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
        # new code: the page comes back by itself
        before = shown(browser)[0]
        service.server.process.send_signal(signal.SIGHUP)
        waiting.until(lambda driver: shown(driver)[0].startswith("You are in slot") and shown(driver)[0] != before)
        browser.switch_to.window(next(handle for handle in browser.window_handles if handle != first))
