"""The mail filter, with spamc, and with mail and clients that are made to be in the way."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from running import EXAMPLES, Running, running

sys.path.insert(0, str(EXAMPLES / "mailfilter"))

COMMAND = "python -m backchannel_sync --listen 127.0.0.1:{port} --status {status} --workers 2 filter:handle"
HAM = b"Date: Tue, 3 Jul 2007 18:06:00 +0000\r\nSubject: lunch\r\n\r\nat noon?\r\n"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
MOST = 8 << 20

needs_spamc = pytest.mark.skipif(shutil.which("spamc") is None, reason="no spamc here")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("mailfilter", tmp_path_factory.mktemp("mail"), COMMAND) as service:
        yield service
        assert service.status()["counters"]["deaths"] == 0
    assert "Traceback" not in service.server.log, "what clients send is not an error of the filter"


def ask(service: Running, data: bytes) -> bytes:
    with service.connect() as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return client.makefile("rb").read()


def symbols(service: Running, message: bytes) -> list[str]:
    """The rules that ``message`` meets; there is a verdict for each message."""
    answer = ask(service, b"SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(message) + message)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"SPAMD/1.1 0 EX_OK\r\n"), answer
    return body.decode().strip().split(",")


def process(service: Running, message: bytes) -> bytes:
    answer = ask(service, b"PROCESS SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(message) + message)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nContent-length: %d\r\n" % len(body) in head
    return body


# -------------------------------------------------------------------------------------- protocol


def test_requests_and_verdicts(service: Running) -> None:
    assert ask(service, b"PING SPAMC/1.5\r\n") == b"SPAMD/1.5 0 PONG\r\n"
    head = b"CHECK SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(HAM)
    assert b"Spam: False ; 0.0 / 5.0\r\n" in ask(service, head + HAM)
    assert ask(service, b"PROCESS SPAMC/1.5\r\n\r\n" + HAM).endswith(HAM)
    assert symbols(service, b"") == ["MISSING_DATE"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"EHLO\r\n", "EX_PROTOCOL"),
        (b"", "EX_PROTOCOL"),
        (b"x" * 100_000, "EX_PROTOCOL"),
        (b"TELL SPAMC/1.5\r\n\r\n", "EX_UNAVAILABLE"),
        (b"CHECK SPAMC/1.5\r\nContent-length: many\r\n\r\n", "EX_PROTOCOL"),
        (b"CHECK SPAMC/1.5\r\nContent-length: -1\r\n\r\n", "EX_PROTOCOL"),
        (b"CHECK SPAMC/1.5\r\nContent-length: 1_0\r\n\r\n0123456789", "EX_PROTOCOL"),
        (b"CHECK SPAMC/1.5\r\nContent-length: 2\r\nContent-Length: 3\r\n\r\nabc", "EX_PROTOCOL"),
        (b"CHECK SPAMC/1.5\r\nContent-length: 99\r\n\r\nshort", "EX_PROTOCOL"),
        (b"CHECK SPAMC/1.5\r\nno header\r\n\r\n", "EX_PROTOCOL"),
        (b"CHECK SPAMC/1.5\r\nUser: " + b"x" * 100_000 + b"\r\n\r\n", "EX_PROTOCOL"),
        (b"CHECK SPAMC/1.5\r\n" + b"User: x\r\n" * 1000 + b"\r\n", "EX_PROTOCOL"),
        (b"CHECK SPAMC/1.5\r\nUser: x\r\n", "EX_PROTOCOL"),
        (b"CHECK SPAMC/1.5\r\nContent-length: 99999999\r\n\r\n", "EX_IOERR"),
        (b"CHECK SPAMC/1.5\r\n\r\n" + b"x" * (MOST + 1), "EX_IOERR"),
        (b"CHECK SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % (MOST + 1) + b"x" * (MOST + 1), "EX_IOERR"),
    ],
    ids=lambda value: value[:60].decode() if isinstance(value, bytes) else value,
)
def test_a_request_that_gets_no_verdict_is_told_why(service: Running, request_: bytes, status: str) -> None:
    answer = ask(service, request_)
    assert answer.startswith(b"SPAMD/1.0 "), answer
    assert status in answer.decode()
    assert answer.count(b"\r\n") == 1


def test_nothing_of_a_request_is_repeated_in_its_refusal(service: Running) -> None:
    answer = ask(service, b"A\rSpam:\rTrue\x1b[2J SPAMC/1.5\r\nUser: b\r\n\r\n")
    assert answer == b"SPAMD/1.0 69 EX_UNAVAILABLE No such command here\r\n"


def test_a_message_of_no_length_is_not_waited_for(service: Running) -> None:
    with service.connect() as client:
        client.sendall(b"SYMBOLS SPAMC/1.5\r\nContent-length: 0\r\n\r\n")  # and the connection stays open
        assert client.makefile("rb").read().startswith(b"SPAMD/1.1 0 EX_OK")


def test_a_client_that_sends_now_and_then_has_no_more_time_than_others(tmp_path: Path) -> None:
    with running("mailfilter", tmp_path, COMMAND, TIMEOUT="1") as service:
        for begun in (b"PI", b"CHECK SPAMC/1.5\r\nUser:", b"CHECK SPAMC/1.5\r\nContent-length: 99\r\n\r\n"):
            with service.connect() as client:
                client.sendall(begun)
                client.settimeout(0.05)
                deadline = time.monotonic() + 20
                while True:
                    assert time.monotonic() < deadline, "it keeps its worker"
                    try:
                        client.sendall(b" ")
                        assert client.recv(100) == b""
                    except TimeoutError:
                        continue
                    except ConnectionError:
                        pass  # closed over what was sent last
                    break


def test_a_worker_that_is_kept_too_long_is_replaced(tmp_path: Path) -> None:
    command = COMMAND.replace("filter:handle", "slow:handle")
    (tmp_path / "slow.py").write_text(
        "import threading, filter\nfilter.judge = lambda data: threading.Event().wait()\nhandle = filter.handle\n"
    )
    with running("mailfilter", tmp_path, command, LIMIT="0.5", PYTHONPATH=str(tmp_path)) as service:
        assert ask(service, b"CHECK SPAMC/1.5\r\nContent-length: 0\r\n\r\n") == b""
        service.until(lambda document: document["counters"]["deaths"] == 1)
        assert ask(service, b"PING SPAMC/1.5\r\n") == b"SPAMD/1.5 0 PONG\r\n"
    assert "in answer" in service.server.log, "the log says where it was"


# ------------------------------------------------------------------------------------------ mail


@pytest.mark.parametrize(
    "message",
    [
        b"Content-Type: text/plain; name*=\"''\r\n\r\nhttp://1.2.3.4/\r\n",
        b"Content-Type: text/plain; name*=\"\0utf-8''%ff\r\n\r\nhttp://1.2.3.4/\r\n",
        b"Content-Type: text/plain; charset=no-such\r\n\r\n\xff\xfe http://1.2.3.4/\r\n",
        b"Content-Type: \xff\xfe\r\n\r\nhttp://1.2.3.4/\r\n",
        b"Content-Type: multipart/x; boundary=\r\n\r\nhttp://1.2.3.4/\r\n",
        b"Content-Type: multipart/x; boundary=never\r\n\r\nhttp://1.2.3.4/\r\n",
        b"Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n\r\nhttp://1.2.3.4/",
        b"Content-Type: message/rfc822\r\n\r\nContent-Type: text/html\r\n\r\nhttp://1.2.3.4/",
        b"Content-Transfer-Encoding: \xff\r\n\r\nhttp://1.2.3.4/\r\n",
        b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(b"http://1.2.3.4/").rstrip(b"="),
        b"Content-Transfer-Encoding: base64\r\n\r\nhttp://1.2.3.4/ ab",
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\nhttp=3A//1.2=\r\n.3.4/=",
        b"\r\nhttp://1.2.3.4/",
        b"see http://1.2.3.4/",
        b"\0\0\0http://1.2.3.4/",
        b"Subject: a\0b\r\n: no name\r\n\r\nhttp://1.2.3.4/",
        b"Subject: =?no-such?b?/?= =?utf-8?q?=ff?=\r\n\r\nhttp://1.2.3.4/",
        b"Subject: \xff\xfe\r\nS\xc3\xbc: x\r\n\r\nhttp://1.2.3.4/",
        b"From somebody Tue Jul  3 18:06:00 2007\nSubject: x\n\nhttp://1.2.3.4/\n",
        b"X: " + b"y" * 1_000_000 + b"\r\n\r\nhttp://1.2.3.4/",
        b"X: y\r\n" * 20_000 + b"\r\nhttp://1.2.3.4/",
    ],
    ids=lambda message: repr(message[:50]),
)
def test_whatever_it_is_it_gets_a_verdict(service: Running, message: bytes) -> None:
    assert "URI_NUMERIC" in symbols(service, message)


def test_parts_in_parts_are_read(service: Running) -> None:
    inner = (
        b'Content-Type: multipart/mixed; boundary="bb"\r\n\r\n--bb\r\n\r\none\r\n--bb\r\n\r\n'
        + GTUBE
        + b"\r\n--bb--\r\n"
    )
    outer = b"Date: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nno part\r\n--b\r\n" + inner + b"--b--\r\n"
    assert symbols(service, outer) == ["GTUBE"]
    hidden = base64.encodebytes(GTUBE)
    encoded = b"Date: x\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: BASE64\r\n\r\n" + hidden
    assert symbols(service, encoded) == ["GTUBE"]
    attached = encoded.replace(b"text/html", b"image/png")
    assert symbols(service, attached) == [""], "what is no text is not even decoded"


def nested(depth: int) -> bytes:
    pieces = (b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (k, k) for k in range(depth))
    return b"".join(pieces) + b"\r\nx"


FILL = 2 << 20
HOSTILE = {
    "encoded words": b"Subject: " + b"=?utf-8?q?a?= " * (FILL // 14),
    "half of encoded words": b"Subject: " + b"=?a?q?" * (FILL // 6),
    "continued": b"Subject: a\r\n" + b" \n" * (FILL // 2),
    "spaces": b"Subject" + b" " * FILL,
    "name": b"a" * FILL,
    "headers": b"a:\n" * (FILL // 3),
    "parameters": b"Content-Type: text/plain; " + b"a*0*=x;" * (FILL // 7),
    "quotes": b"Content-Type: text/plain; a=" + b'";' * (FILL // 2),
    "boundaries": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * (FILL // 7),
    "spaces behind a boundary": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b" + b" " * FILL + b"x",
    "multiparts": nested(8000) + b"\r\n" * (FILL // 3),
    "messages": b"Content-Type: message/rfc822\r\n\r\n" * (FILL // 32),
    "base64": b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=" * FILL,
    "quoted": b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"= \n" * (FILL // 3),
    "numbers": b"\r\n" + b"http://1.1.1" * (FILL // 12),
    "digits": b"\r\nhttp://" + b"1" * FILL,
    "newlines": b"\r\n" * (FILL // 2),
    "carriage returns": b"X:" + b"\r" * FILL,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_time_for_a_message_grows_as_its_length(name: str) -> None:
    import filter

    def taken(message: bytes) -> float:
        before = time.process_time()
        filter.judge(message)
        filter.marked(message, "X-Spam-Flag: NO")
        return time.process_time() - before

    # ten times what the slowest of them takes; of what grew as the square, not one would be done in an hour
    assert taken(HOSTILE[name]) < 20


# ----------------------------------------------------------------------------------- what goes back


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_a_message_cannot_bring_its_own_verdict(service: Running, newline: bytes) -> None:
    lines = [b"Subject: a", b"x-spam-flag: NO", b"X-Spam-Score:", b"\t0", b"X-Spamming: b", b"", b"X-Spam-Flag: c", b""]
    back = process(service, newline.join(lines)).split(newline)
    assert back[:2] == [b"X-Spam-Flag: NO", b"X-Spam-Score: 1.4 (MISSING_DATE)"]
    assert back[2:] == [b"Subject: a", b"X-Spamming: b", b"", b"X-Spam-Flag: c", b""]


def test_the_line_of_a_mailbox_stays_the_first(service: Running) -> None:
    first = b"From somebody Tue Jul  3 18:06:00 2007\n"
    assert process(service, first + b"Subject: x\n\nhi\n").startswith(first + b"X-Spam-Flag: NO\nX-Spam-Score: ")


# ----------------------------------------------------------------------------------------- spamc


def spamc(service: Running, *options: str, message: bytes = HAM) -> subprocess.CompletedProcess[bytes]:
    command = ["spamc", "-d", "127.0.0.1", "-p", str(service.port), *options]
    return subprocess.run(command, input=message, capture_output=True, timeout=60)


@needs_spamc
def test_spamc_gets_its_verdicts(service: Running) -> None:
    assert spamc(service, "-K").stdout == b"SPAMD/1.5 0\n"
    spam = spamc(service, "-c", message=b"Subject: a\n\n" + GTUBE + b"\n")
    assert (spam.returncode, spam.stdout) == (1, b"1001.4/5.0\n")
    assert spamc(service, "-c").stdout == b"0.0/5.0\n"
    assert spamc(service).stdout.endswith(HAM)
    big = HAM + b"x" * 2_000_000
    assert spamc(service, "-s", str(MOST), message=big).stdout.endswith(big)


@needs_spamc
def test_spamc_does_not_take_a_refusal_for_a_verdict(service: Running) -> None:
    assert spamc(service, "-x", "-L", "spam").returncode == 74, "there is no TELL"
    assert spamc(service, "-x", "--headers").returncode == 74, "there are no HEADERS"
    huge = HAM + b"x" * MOST
    refused = spamc(service, "-x", "-s", str(2 * MOST), message=huge)
    assert (refused.returncode, refused.stdout) == (74, b"")
    passed = spamc(service, "-s", str(2 * MOST), message=huge)
    assert (passed.returncode, passed.stdout) == (0, huge), "without -x it gives back what it got"


def test_many_at_once(service: Running) -> None:
    messages = [b"Date: x\r\nSubject: n%d\r\n\r\nhi\r\n" % number for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda message: symbols(service, message), messages)) == [[""]] * 40
