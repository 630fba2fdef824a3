"""Every kind of worker there is, each with the same handler: a line comes in, ``act`` is done, a line goes out."""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from test_server import Server

LOOP = Path(__file__).parents[2] / "examples/loop/asyncio_worker.py"

ACTS = """
import asyncio, multiprocessing, os, signal, socket, struct, subprocess, sys, time

import trio
from backchannel_sync import current_worker

KEPT = []


class Unprintable(Exception):
    def __str__(self):
        raise ValueError


def deeper():
    deeper()


def database(end):
    # a connection of the handler's own, which its other side refuses or resets
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if end == "refuses":
            address = listener.getsockname()
            listener.close()
            socket.create_connection(address)
        listener.listen()
        with socket.create_connection(listener.getsockname()) as own:
            if end == "is silent":
                own.settimeout(0.01)
                own.recv(1)
            other = listener.accept()[0]
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            other.close()
            own.recv(1)


def in_a_child(function):
    reader, writer = os.pipe()
    if not os.fork():
        os.write(writer, function())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        return file.read()


def dispositions():
    numbers = (*(getattr(signal, "SIG" + name) for name in ("TERM", "HUP", "USR1", "USR2", "CHLD")),)
    usual = all(signal.getsignal(number) is signal.SIG_DFL for number in numbers)
    usual = usual and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    mask, wakeup = signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.set_wakeup_fd(-1)
    return b"usual" if usual and not mask and wakeup == -1 else repr((numbers, mask, wakeup)).encode()


def act(command, held):
    match command:
        case "exit": sys.exit(3)
        case "interrupt": raise KeyboardInterrupt
        case "cancel": raise asyncio.CancelledError
        case "generator": raise GeneratorExit
        case "group": raise BaseExceptionGroup("both", [SystemExit(1), ValueError("one")])
        case "unprintable": raise Unprintable
        case "recursion": deeper()
        case "memory": raise MemoryError
        case "refused": database("refuses")
        case "reset": database("resets")
        case "late": database("is silent")
        case "own-socket": os.close(os.dup(held.fileno())); held.close()
        case "return":
            if not os.fork():
                return None  # the child comes back as if it were the worker
            os.wait()
        case "daemon":
            child = multiprocessing.Process(target=time.sleep, args=(60,), daemon=True)
            child.start()
            KEPT.append(child)
            return str(child.pid).encode()
        case "pool":
            pool = multiprocessing.Pool(1)
            KEPT.append(pool)
            return b"%d" % pool.apply(os.getpid)
        case "dup": KEPT.append(held.dup())
        case "dispositions": return in_a_child(dispositions)
        case "inherits":
            # what a worker waits for its parent with, and what it accepts on
            return in_a_child(lambda: b"%d" % sum(map(is_listening, range(3, 20))))
        case "drain": return b"%d" % current_worker().draining
    return b"%d" % os.getpid()


def is_listening(number):
    try:
        with socket.socket(fileno=os.dup(number)) as sock:
            return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        return 0
"""

HANDLERS = (
    ACTS
    + """
def plain(connection):
    while line := connection.recv(100):
        command = line.decode().strip()
        if command == "until-drain":
            connection.sendall(b"waiting\\n")
            while not current_worker().draining:
                time.sleep(0.01)
            return connection.sendall(b"draining\\n")
        if command == "timeout":
            connection.settimeout(0.01)
        answer = act(command, connection)
        if answer is None:
            return
        connection.sendall(answer + b"\\n")
        if command in ("dup", "daemon"):
            return


def steps(connection):
    while line := (yield from connection.recv(100)):
        command = line.decode().strip()
        if command == "until-drain":
            yield from connection.sendall(b"waiting\\n")
            while not current_worker().draining:
                line = yield from connection.recv(100, until_drain=True)
            return (yield from connection.sendall(b"draining\\n"))
        answer = act(command, connection.socket)
        if answer is None:
            return
        yield from connection.sendall(answer + b"\\n")
        if command in ("dup", "daemon"):
            return


async def task(stream):
    while line := await stream.receive_some(100):
        command = line.decode().strip()
        if command == "child waits":
            import trio
            if not os.fork():
                await trio.sleep(15)  # the worker waits for its end
            await trio.to_thread.run_sync(os.wait)
        if command == "until-drain":
            await stream.send_all(b"waiting\\n")
            await current_worker().wait_draining()
            return await stream.send_all(b"draining\\n")
        answer = act(command, stream.socket)
        if answer is None:
            return
        await stream.send_all(answer + b"\\n")
        if command in ("dup", "daemon"):
            return


async def stream(reader, writer):
    while line := await reader.readline():
        command = line.decode().strip()
        if command == "until-drain":
            writer.write(b"waiting\\n")
            await current_worker().wait_draining()
            writer.write(b"draining\\n")
            return
        if command == "task":
            asyncio.create_task(leaving())
            await asyncio.sleep(0)
        if command == "stop":
            asyncio.get_running_loop().stop()
        if command == "cancels itself":
            asyncio.current_task().cancel()
            await asyncio.sleep(0)
        answer = act(command, writer.get_extra_info("socket"))
        if answer is None:
            return
        writer.write(answer + b"\\n")
        await writer.drain()
        if command in ("dup", "daemon"):
            return


async def leaving():
    sys.exit(3)
"""
)

ONE = ["--workers", "1"]
MANY = ["--capacity", "20", "--workers", "1"]
KINDS = {
    "plain": [*ONE, "acts:plain"],
    "traditional": ["--traditional", *ONE, "acts:plain"],
    "started": [*ONE, "--worker", f"{sys.executable} -m backchannel_sync.worker acts:plain"],
    "generator": [*MANY, "acts:steps"],
    "trio": [*MANY, "acts:task"],
    "asyncio": [*MANY, "--worker", f"{sys.executable} {LOOP} acts:stream"],
}
"""The arguments of a server whose only worker is of this kind."""
AT_ONCE = ("generator", "trio", "asyncio")
"""Those that serve several connections at once."""


class KindServer(Server):
    """A server with one worker of a kind; the handler's module is ``acts``, and ends in ``more``."""

    def __init__(self, folder: Path, kind: str, *options: str, more: str = "") -> None:
        self.module = "backchannel_trio" if kind == "trio" else "backchannel_sync"
        (folder / "acts.py").write_text(HANDLERS + more)
        super().__init__(folder, "--listen", "127.0.0.1:0", *options, *KINDS[kind])

    def connect(self) -> socket.socket:
        """A client."""
        host, port = self.addresses[0].split(":")
        return socket.create_connection((host, int(port)), timeout=30)

    def lines(self, event: str) -> list[str]:
        """Those lines of the log that contain ``event``."""
        return [line for line in self.log.read_text().splitlines() if event in line]

    def until_logged(self, event: str, count: int) -> None:
        """Wait until the log has so many lines with ``event``."""
        deadline = time.monotonic() + 30
        while len(self.lines(event)) < count:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.005)


def say(client: socket.socket, command: str) -> bytes:
    """The answer to ``command``; nothing if the connection ends instead."""
    client.sendall(command.encode() + b"\n")
    return answer(client)


def answer(client: socket.socket) -> bytes:
    """The next line, or nothing at the end of the connection."""
    data = b""
    while not data.endswith(b"\n"):
        try:
            part = client.recv(1)
        except ConnectionResetError:
            part = b""
        if not part:
            break
        data += part
    return data.strip()


@contextmanager
def serving(folder: Path, kind: str, *options: str, more: str = "") -> Iterator[KindServer]:
    """A :class:`KindServer`, ended at the end if it is still there."""
    server = KindServer(folder, kind, *options, more=more)
    try:
        assert server.addresses, server.log.read_text()
        yield server
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGINT)
        assert server.process.stdout
        server.process.stdout.close()
