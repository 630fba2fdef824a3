"""What ends a handler ends its connection and nothing else, and the log says whose doing it was."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from kinds import AT_ONCE, KINDS, answer, say, serving

RAISED = ("exit", "interrupt", "cancel", "generator", "group", "unprintable", "recursion", "memory")
OF_ITS_OWN = ("refused", "reset", "late")
"""What another connection of the handler's does to it."""


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_handler_raises_ends_its_connection_alone(kind: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind) as server:
        with server.connect() as client:
            pid = say(client, "hi")
        held = server.connect() if kind in AT_ONCE else None
        if held:
            assert say(held, "hi") == pid
        for what in (*RAISED, *OF_ITS_OWN, "own-socket"):
            with server.connect() as bad:
                address = "{}:{}".format(*bad.getsockname())
                assert say(bad, what) == b"", what
            with server.connect() as client:
                assert say(client, "hi") == pid, what
            entries = server.lines("a handler failed")
            assert f"slot 0: a handler failed; the connection of client {address} is closed" in entries[-1], what
        if held:
            assert say(held, "hi") == pid
            held.close()
        assert server.stop() == 0
        assert len(server.lines("a handler failed")) == len(RAISED) + len(OF_ITS_OWN) + 1
        assert not server.lines("has gone")
        assert server.lines("ConnectionRefusedError: ")


def test_a_task_that_a_handler_has_started_does_not_end_the_worker(tmp_path: Path) -> None:
    with serving(tmp_path, "asyncio") as server, server.connect() as held:
        pid = say(held, "hi")
        with server.connect() as client:
            assert say(client, "task") == pid
        assert say(held, "hi") == pid
        server.until_logged("a handler's task failed", 1)


def test_a_forked_child_that_waits_is_no_second_worker_on_trio(tmp_path: Path) -> None:
    with serving(tmp_path, "trio") as server, server.connect() as held, server.connect() as client:
        pid = say(held, "hi")
        client.settimeout(10)
        for _ in range(5):
            assert say(client, "child waits") == pid
            assert say(held, "hi") == pid


def test_a_handler_on_asyncio_does_not_stop_its_loop_nor_end_without_a_word(tmp_path: Path) -> None:
    with serving(tmp_path, "asyncio") as server, server.connect() as held:
        pid = say(held, "hi")
        with server.connect() as client:
            assert say(client, "stop") == pid
        assert say(held, "hi") == pid
        server.until_logged("a handler's task failed", 1)
        with server.connect() as client:
            assert say(client, "cancels itself") == b""
        assert say(held, "hi") == pid
        server.until_logged("a handler failed", 1)


NONSENSE = """
from backchannel_sync import Wait

def steps(connection):
    command = (yield from connection.recv(100)).decode().strip()
    try:
        match command:
            case "number": yield 3
            case "nothing": yield Wait(0)
            case "events": yield Wait(1 << 20)
            case "time": yield Wait(0, "soon")
            case "closed": connection.socket.close(); yield Wait(1)
            case "long": connection.socket.close(); yield from connection.sleep(0.01)
            case "no-socket": connection.socket = None; yield Wait(1)
            case "value": return 3
            case "never": yield Wait(0, float("inf"))
            case "no time": yield Wait(1, float("nan"))
            case "catches":
                for _ in range(1 << 24):
                    try:
                        yield 3
                    except Exception:
                        pass
            case "no limit": yield Wait(1, float("inf"))
            case "wall clock": yield Wait(1, time.monotonic() + 1.8e9)
            case "busy":
                while True:
                    yield Wait(0, 0.0)
    except (AttributeError, TypeError, ValueError) as error:
        if command != "closed":
            connection.socket and connection.socket.sendall(b"told\\n")
        raise
    yield from connection.sendall(b"%d\\n" % os.getpid())
"""


def test_a_generator_that_waits_for_nonsense_is_told_where_it_stands(tmp_path: Path) -> None:
    with serving(tmp_path, "generator", "--drain-deadline", "1", more=NONSENSE) as server:
        with server.connect() as client:
            pid = say(client, "hi")
        with server.connect() as busy:
            busy.sendall(b"busy\n")
            for what, told in {
                "number": b"told",
                "nothing": b"told",
                "events": b"told",
                "time": b"told",
                "closed": b"",
                "long": b"",
                "no-socket": b"",
                "value": b"",
                "never": b"told",
                "no time": b"told",
                "catches": b"",
            }.items():
                with server.connect() as client:
                    assert say(client, what) == told, what
                with server.connect() as client:
                    assert say(client, "hi") == pid, what
            assert len(server.lines("a handler failed")) == 10
            assert server.stop() == 0


def test_a_generator_may_wait_for_longer_than_the_system_does_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, "generator", more=NONSENSE) as server, server.connect() as held:
        pid = say(held, "hi")
        for what in ("no limit", "wall clock"):
            with server.connect() as client:
                client.sendall(what.encode() + b"\n")
                with server.connect() as other:  # the worker has begun the first, and waits with it
                    assert say(other, "hi") == pid, what
                client.sendall(b"!\n")
                assert answer(client) == pid, what
        assert server.stop() == 0


WRAPPED = """
import functools

def wrapped(function):
    @functools.wraps(function)
    def wrapper(connection):
        return function(connection)
    return wrapper

@wrapped
def generator(connection):
    yield from connection.recv(100)

@wrapped
async def coroutine(connection):
    pass

@wrapped
async def agenerator(connection):
    yield

def plain(connection):
    return globals()[connection.recv(100).decode().strip()](connection)
"""


@pytest.mark.parametrize("kind", ["plain", "traditional"])
def test_a_handler_that_is_another_kind_of_function_behind_a_decorator_is_said(kind: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind, more=WRAPPED) as server:
        for what in ("generator", "coroutine", "agenerator"):
            with server.connect() as client:
                assert say(client, what) == b""
        for what in ("generator", "coroutine", "async_generator"):
            server.until_logged(f"TypeError: the handler has returned <{what} object ", 1)
        assert server.stop() == 0


CONFIGURED = """
import logging.config
logging.config.dictConfig({"version": 1})
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_that_configures_logging_does_not_hide_what_fails(kind: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind, more=CONFIGURED) as server:
        for number in range(2):
            with server.connect() as client:
                assert say(client, "exit") == b""
            server.until_logged("a handler failed", number + 1)


def test_a_preloaded_module_that_configures_logging_does_not_silence_the_parent(tmp_path: Path) -> None:
    with serving(tmp_path, "plain", "--preload", more=CONFIGURED) as server:
        assert server.stop() == 0
        assert server.lines("stopping: ")


PIECES = """
def plain(connection):
    command = connection.recv(100).decode().strip()
    connection.sendall(b"!")
    match command:
        case "sendmsg":
            while True:
                connection.sendmsg([b"x" * 1000, b"y" * 1000])
        case "recvmsg": connection.recvmsg(100)
        case "recvmsg_into": connection.recvmsg_into([bytearray(100)])
        case "recvfrom": connection.recvfrom(100)
        case "recvfrom_into": connection.recvfrom_into(bytearray(100))
"""


@pytest.mark.parametrize("what", ["sendmsg", "recvmsg", "recvmsg_into", "recvfrom", "recvfrom_into"])
def test_whatever_is_called_on_a_connection_that_was_reset_is_one_line(what: str, tmp_path: Path) -> None:
    with serving(tmp_path, "plain", more=PIECES) as server:
        client = server.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(what.encode() + b"\n")
        assert client.recv(1)  # it is at the call, or about to
        client.close()
        server.until_logged("has gone, or failed", 1)
        assert server.stop() == 0
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_resets_is_one_line(kind: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind, *([] if kind in ("started", "asyncio") else ["--log-format", "json"])) as server:
        for number in range(3):
            client = server.connect()
            pid = say(client, "hi")
            address = "{}:{}".format(*client.getsockname())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            server.until_logged("has gone", number + 1)
        line = server.lines("has gone")[-1]
        assert f"slot 0: client {address} has gone" in line
        if line.startswith("{"):
            record = json.loads(line)
            assert (record["level"], record["event"], record["slot"]) == ("INFO", "client gone", 0)
            assert record["client"] == address
        with server.connect() as client:
            assert say(client, "hi") == pid
        assert server.stop() == 0
        assert not re.search("traceback|Traceback", server.log.read_text())


@pytest.mark.parametrize("kind", ["plain", "traditional"])
def test_a_client_that_is_silent_for_too_long_is_one_line(kind: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind) as server:
        with server.connect() as client:
            assert say(client, "timeout")
            assert answer(client) == b""
        server.until_logged("has gone, or failed (TimeoutError)", 1)
        assert "Traceback" not in server.log.read_text()


GONE_AND_DOWN = """
def plain(connection):
    try:
        connection.recv(100)
        connection.recv(100)
    except ConnectionResetError:
        pass  # what the client does is dealt with; but then
    database("resets")

def steps(connection):
    try:
        yield from connection.recv(100)
        yield from connection.recv(100)
    except ConnectionResetError:
        pass
    database("resets")
"""


@pytest.mark.parametrize("kind", ["plain", "generator"])
def test_a_reset_database_is_a_fault_though_the_client_has_gone(kind: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind, more=GONE_AND_DOWN) as server:
        client = server.connect()
        client.sendall(b"x")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        server.until_logged("a handler failed", 1)
        server.until_logged("ConnectionResetError: ", 1)
        assert not server.lines("has gone")


# ---------------------------------------------------------------------------- the connection's end


@pytest.mark.parametrize("what", ["dup", "daemon"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_ends_with_its_handler_whoever_holds_it(kind: str, what: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind) as server, server.connect() as client:
        assert say(client, what)
        assert answer(client) == b""


FILE = """
class Session:
    def __init__(self, connection):
        self.file = connection.makefile("rwb")
        self.me = self

def plain(connection):
    session = Session(connection)
    session.file.write(session.file.readline())
    session.file.flush()
"""


def test_a_file_that_is_still_referred_to_holds_nothing_up(tmp_path: Path) -> None:
    with serving(tmp_path, "plain", more=FILE) as server, server.connect() as client:
        assert say(client, "hi") == b"hi"
        assert answer(client) == b""


DETACHED = """
import gc

def plain(connection):
    KEPT.append(socket.socket(fileno=connection.detach()))
    if len(KEPT) == 2:
        for one in KEPT:
            one.sendall(b"kept\\n")
            one.close()
"""


def test_a_connection_that_the_handler_detaches_is_the_handlers(tmp_path: Path) -> None:
    with serving(tmp_path, "plain", more=DETACHED) as server, server.connect() as first, server.connect() as second:
        assert answer(first) == answer(second) == b"kept"


LARGE = """
def plain(connection):
    connection.recv(1)
    connection.sendall(bytes(3_000_000))
"""


def test_what_was_sent_before_the_end_arrives(tmp_path: Path) -> None:
    with serving(tmp_path, "plain", more=LARGE) as server, server.connect() as client:
        client.sendall(b"x")
        got = 0
        while part := client.recv(1 << 16):
            got += len(part)
        assert got == 3_000_000


PASSED = """
def answers(connection):
    connection.sendall(b"from a child\\n")

def plain(connection):
    child = multiprocessing.get_context("spawn").Process(target=answers, args=(connection,))
    child.start()
    child.join()
"""


def test_a_connection_can_be_passed_to_a_process(tmp_path: Path) -> None:
    with serving(tmp_path, "plain", more=PASSED) as server, server.connect() as client:
        assert answer(client) == b"from a child"


TLS = """
import ssl
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain("certificate.pem", "key.pem")

class Session:
    def __init__(self, tls):
        self.tls, self.me = tls, self

def plain(connection):
    session = Session(CONTEXT.wrap_socket(connection, server_side=True))
    session.tls.sendall(session.tls.recv(100))
"""


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_tls_ends_with_its_handler_and_its_errors_are_the_clients(tmp_path: Path) -> None:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost"]
    files = ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(["openssl", "req", "-x509", *key, *files], cwd=tmp_path, capture_output=True, check=True)
    context = ssl.create_default_context(cafile=tmp_path / "certificate.pem")
    context.check_hostname = False
    with serving(tmp_path, "plain", more=TLS) as server:
        with server.connect() as plain:
            assert say(plain, "this is no TLS") != b"this is no TLS"
        server.until_logged("has gone, or failed (SSLError)", 1)
        with context.wrap_socket(server.connect()) as client:
            client.sendall(b"hi\n")
            assert client.recv(100) == b"hi\n"
            assert client.recv(100) == b""
        assert "Traceback" not in server.log.read_text()


# -------------------------------------------------------------------------------------- children


@pytest.mark.parametrize("kind", KINDS)
def test_a_forked_child_is_an_ordinary_process(kind: str, tmp_path: Path) -> None:
    with serving(tmp_path, kind) as server:
        for _ in range(2):
            with server.connect() as client:
                assert say(client, "dispositions") == b"usual"
        with server.connect() as client:
            assert say(client, "inherits") == b"0"
        # one that comes back from its handler goes no further: the worker's channel is not its
        with server.connect() as client:
            pid = say(client, "hi")
        with server.connect() as client:
            assert say(client, "return") == pid
        for _ in range(4):
            with server.connect() as client:
                assert say(client, "hi") == pid
        assert server.stop() == 0
        assert not server.lines("protocol")


RUN = """
CODE = '''
import signal
numbers = [getattr(signal, "SIG" + name) for name in ("TERM", "HUP", "INT", "USR1", "USR2", "CHLD")]
usual = {signal.SIG_DFL, signal.default_int_handler}
print({signal.getsignal(number) for number in numbers} == usual, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
'''

def plain(connection):
    connection.sendall(subprocess.check_output([sys.executable, "-c", CODE]))
"""


def test_a_program_that_is_run_has_the_usual_signals(tmp_path: Path) -> None:
    with serving(tmp_path, "plain", more=RUN) as server, server.connect() as client:
        assert answer(client) == b"True set()"


FORK = """
import os, signal
from backchannel_server import context
from backchannel_server.signals import leave_to_the_parent

leave_to_the_parent()
context.enter(context.WorkerInfo(0, 1))
mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
context._hold_signals()
os.kill(os.getpid(), signal.SIGTERM)  # as to a child that has not had its first turn
{after}()
print(signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask, flush=True)
"""


@pytest.mark.parametrize(
    ("after", "status", "said"),
    [("context._forked_by_a_handler", -signal.SIGTERM, ""), ("context._let_signals_in", 0, "True\n")],
    ids=["in the child", "in the worker"],
)
def test_a_signal_to_a_child_that_was_just_forked(after: str, status: int, said: str) -> None:
    """In the child it has its usual effect, however early it comes; in the worker it has none."""
    program = FORK.format(after=after)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (status, said), done.stderr


def test_a_child_of_a_child_keeps_what_that_one_has_set() -> None:
    program = FORK.format(after="context._let_signals_in") + textwrap.dedent("""
        child = os.fork()
        if not child:
            signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
            grandchild = os.fork()
            if not grandchild:
                os.kill(os.getpid(), signal.SIGTERM)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n7\n", done.stderr
