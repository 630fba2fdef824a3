"""AF_UNIX names in the file system, and listeners that come from a supervisor."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from backchannel_server import StartError, listeners
from backchannel_server.listeners import Listeners, OwnPath, adopt, bind, name_of, passed


@pytest.fixture
def path() -> Iterator[Path]:
    """A name that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="bc-") as folder:
        yield Path(folder) / "listener"


def test_unix_name_and_mode(path: Path) -> None:
    with bind(f"unix:{path}", mode=0o640) as listener:
        assert name_of(listener) == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert not listener.getblocking()


def test_umask_is_what_it_was(path: Path) -> None:
    before = os.umask(0o027)
    try:
        bind(f"unix:{path}", mode=0o777).close()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_stale_name_is_replaced(path: Path) -> None:
    bind(f"unix:{path}").close()
    assert path.exists()
    with bind(f"unix:{path}") as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        listener.accept()[0].close()


def test_name_in_use_is_left_alone(path: Path) -> None:
    with bind(f"unix:{path}") as listener:
        with pytest.raises(StartError, match="the path is in use") as caught:
            bind(f"unix:{path}")
        assert caught.value.status == os.EX_OSERR
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        listener.accept()[0].close()  # that was the probe
        listener.accept()[0].close()


def test_file_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(StartError, match="a file that is not a socket"):
        bind(f"unix:{path}")
    assert path.read_text() == "precious"


def test_only_the_own_name_is_removed(path: Path) -> None:
    listeners = Listeners()
    listeners.open([f"unix:{path}"])
    listeners.close()
    listeners.remove_paths()
    assert not path.exists()
    listeners.open([f"unix:{path}"])
    listeners.close()
    os.utime(path, ns=(1, 1))  # a clock that stands still would make the next name look like this one
    listeners.paths[:] = [OwnPath.of(str(path))]
    with bind(f"unix:{path}"):  # another server has taken over the stale name
        listeners.remove_paths()
        assert path.exists()


def test_nothing_is_left_when_one_of_several_fails(path: Path) -> None:
    with pytest.raises(StartError):
        Listeners().open([f"unix:{path}", "nowhere"])
    assert not path.exists()


def test_passed_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    with bind("127.0.0.1:0") as made:
        name = name_of(made)
        number = os.dup(made.fileno())
        os.set_inheritable(number, True)
        monkeypatch.setattr(listeners, "FIRST_PASSED", number)
        environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web", "HOME": "/"}
        (found,) = passed(environment)
        with found:
            assert environment == {"HOME": "/"}
            assert name_of(found) == name
            assert not os.get_inheritable(number)


def test_listeners_passed_to_somebody_else() -> None:
    assert passed({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == []
    assert passed({}) == []


def test_passed_descriptor_that_is_no_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    with socket.socket() as silent:
        monkeypatch.setattr(listeners, "FIRST_PASSED", silent.fileno())
        with pytest.raises(StartError, match="is not a listening stream socket"):
            passed(dict(environment))
    with pytest.raises(StartError, match="not a number of sockets"):
        passed({**environment, "LISTEN_FDS": "x"})


def test_adopt_refuses_datagrams() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams, pytest.raises(OSError, match="of another type"):
        adopt(datagrams.fileno())
