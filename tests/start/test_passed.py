"""Sockets that a supervisor passes: they are taken, or it is said that and why they are not."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from backchannel_server import StartError, listeners
from backchannel_server.listeners import passed
from programs import MODULES, Program, handler

Start = Callable[..., Program]


@pytest.mark.parametrize("module", MODULES)
def test_wrapper_that_does_not_become_the_server(tmp_path: Path, start: Start, module: str) -> None:
    """A shell that runs the server as its child: LISTEN_PID is the shell's."""
    handler(tmp_path, module, 'b"served"')
    script = 'export LISTEN_PID=$$ LISTEN_FDS=1; "$@"; exit $?'
    program = start(tmp_path, "greeter:handle", module=module, prefix=("sh", "-c", script, "sh")).ready()
    (line,) = [line for line in program.log.splitlines() if "LISTEN_" in line]
    server = program.document()["pid"]
    assert f"LISTEN_FDS=1 and LISTEN_PID={program.process.pid}, but this is process {server}" in line
    assert "exec python -m" in line, "the remedy"
    assert program.ask() == b"served"
    os.kill(server, signal.SIGTERM)
    assert program.process.wait(60) == 0


@pytest.mark.parametrize("module", MODULES)
def test_wrapper_that_becomes_the_server(tmp_path: Path, start: Start, module: str) -> None:
    """The other way round: nothing is said, and the socket is taken."""
    handler(tmp_path, module, 'b"served"')
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        script = (
            f"import os, sys; os.dup2({number}, 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); "
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        prefix = (sys.executable, "-c", script)
        program = start(
            tmp_path, "greeter:handle", module=module, prefix=prefix, listen=False, pass_fds=(number,)
        ).ready()
        assert program.address == listener.getsockname()
        assert "LISTEN_" not in program.log
        assert program.ask() == b"served"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"LISTEN_FDS": "1"}, "LISTEN_PID is not set"),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "1"}, "LISTEN_FDS=2 and LISTEN_PID=1, but"),
        ({"LISTEN_FDS": "many", "LISTEN_PID": "x", "LISTEN_FDNAMES": "a:b"}, "LISTEN_FDS=many and LISTEN_PID=x, but"),
        ({"LISTEN_FDS": "0", "LISTEN_PID": "1"}, ""),
        ({"LISTEN_PID": "1"}, ""),
        ({}, ""),
    ],
)
def test_what_is_said(variables: dict[str, str], said: str, caplog: pytest.LogCaptureFixture) -> None:
    environment = dict(variables)
    assert passed(environment) == []
    assert not environment, "they are for this process, not for those that it starts"
    assert [record.levelno for record in caplog.records] == ([logging.WARNING] if said else [])
    assert said in caplog.text


@pytest.mark.parametrize("kind", ["datagram", "connected", "pipe", "closed"])
def test_descriptor_that_is_no_listener(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the descriptor, what it is, and the remedy."""
    reader, writer = os.pipe()
    one, other = socket.socketpair()
    with one, other, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        numbers = {"datagram": datagrams.fileno(), "connected": one.fileno(), "pipe": reader, "closed": 1 << 19}
        monkeypatch.setattr(listeners, "FIRST_PASSED", numbers[kind])
        text = f"descriptor {numbers[kind]} is not a listening stream socket"
        with pytest.raises(StartError, match=text) as raised:
            passed({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
        assert raised.value.status == 2
        assert "ListenStream=" in str(raised.value)
    for number in (reader, writer):
        os.close(number)
