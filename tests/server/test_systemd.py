"""Readiness, told to a descriptor and to a supervisor."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator

import pytest
from backchannel_server.systemd import Notifier
from backchannel_sync import StartError


@pytest.fixture
def supervisor() -> Iterator[socket.socket]:
    with tempfile.TemporaryDirectory(prefix="bc-") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(f"{folder}/notify")
        made.settimeout(10)
        yield made


def test_supervisor_is_told(supervisor: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": supervisor.getsockname(), "HOME": "/"}
    notifier = Notifier(environment)
    assert environment == {"HOME": "/"}
    notifier.ready(["127.0.0.1:1"])
    assert supervisor.recv(1000) == b"READY=1\nSTATUS=serving 127.0.0.1:1"
    notifier.reloading()
    first, second = supervisor.recv(1000).split(b"\n")
    assert first == b"RELOADING=1"
    assert int(second.removeprefix(b"MONOTONIC_USEC=")) > 0
    notifier.reloaded("all well")
    assert supervisor.recv(1000) == b"READY=1\nSTATUS=all well"
    notifier.main_pid(47)
    assert supervisor.recv(1000) == b"MAINPID=47"
    notifier.stopping()
    assert supervisor.recv(1000) == b"STOPPING=1"


def test_supervisor_that_has_gone_or_never_was() -> None:
    Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"}).stopping()
    Notifier({}).stopping()


def test_descriptor_is_told_once() -> None:
    reader, writer = os.pipe()
    notifier = Notifier({}, writer)
    notifier.ready(["127.0.0.1:1", "unix:/x"])
    notifier.ready(["127.0.0.1:1"])
    os.close(writer)
    assert os.read(reader, 1000) == b"READY 127.0.0.1:1 unix:/x\n"
    os.close(reader)
    with pytest.raises(StartError, match="give a descriptor that is open"):
        Notifier({}, writer)
