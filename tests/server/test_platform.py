"""The platform modules against the real system: edges come once, counts are counts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from backchannel_server import platform
from backchannel_server.listeners import bind, name_of
from plain_loop import PlainLoop


@pytest.fixture(params=["tcp", "unix"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    if request.param == "tcp":
        made = bind("127.0.0.1:0")
    else:
        made = socket.socket(socket.AF_UNIX)
        made.bind(str(tmp_path / "s"))
        made.listen(8)
        made.setblocking(False)
    yield made
    made.close()


def connect(listener: socket.socket) -> socket.socket:
    client = socket.socket(listener.family)
    client.connect(listener.getsockname())
    return client


def test_pending_counts(listener: socket.socket) -> None:
    counts = platform.Counts([listener])
    assert counts.exact
    assert counts.pending(0, news=False) == 0
    clients = [connect(listener) for _ in range(3)]
    assert counts.pending(0, news=False) == 3
    listener.accept()[0].close()
    assert counts.pending(0, news=True) == 2
    assert counts.exact
    for client in clients:
        client.close()


def test_pending_without_a_count(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    monkeypatch.setattr(platform.native, "count", lambda _listener: None)
    counts = platform.Counts([listener])
    assert not counts.exact
    assert counts.pending(0, news=True) == 0
    with connect(listener), connect(listener):
        assert counts.pending(0, news=False) == 1


def test_count_that_is_wrong_once_is_never_believed_again(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    counts = platform.Counts([listener])
    monkeypatch.setattr(platform.native, "count", lambda _listener: 0)
    with connect(listener):
        assert counts.pending(0, news=False) == 0
        assert counts.exact
        assert counts.pending(0, news=True) == 1
        assert not counts.exact
        assert counts.pending(0, news=False) == 1
        listener.accept()[0].close()
        assert counts.pending(0, news=True) == 0


def test_arrival_between_count_and_look_is_no_error(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    counts = platform.Counts([listener])
    said = iter((0, 1))
    monkeypatch.setattr(platform.native, "count", lambda _listener: next(said))
    with connect(listener):
        assert counts.pending(0, news=True) == 1
    assert counts.exact


@pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="netlink is Linux's")
def test_no_count_where_netlink_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from backchannel_server.platform import linux

    diag = linux._UnixDiag()
    monkeypatch.setattr(linux._UnixDiag, "NETLINK_SOCK_DIAG", 99999)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        made.listen()
        assert diag.count(made) is None
        monkeypatch.undo()
        assert diag.count(made) is None, "what was refused once is not asked again"


def watched(poller: str, listener: socket.socket) -> tuple[PlainLoop, list[int], platform.ListenerWatch]:
    selector = platform.selector_class(poller)
    loop = PlainLoop(selector)
    news: list[int] = []
    watch = platform.listener_watch(loop, edges=platform.has_edges(selector()))
    watch.start([listener], news.append)
    return loop, news, watch


@pytest.mark.skipif(platform.POLLERS[0] not in ("epoll", "kqueue"), reason="this system has no edge-triggered poller")
def test_edge_comes_once_for_each_arrival(listener: socket.socket) -> None:
    loop, news, watch = watched("auto", listener)
    with connect(listener):
        loop.turn()
        assert news == [0]
        loop.turn()
        assert news == [0]
        with connect(listener):
            loop.turn()
            assert news == [0, 0]
            assert loop.turn() == []
    assert watch.next_look() is None
    watch.close()
    loop.close()


def never(_index: int) -> bool:
    return False


def always(_index: int) -> bool:
    return True


@pytest.mark.parametrize("poller", [name for name in platform.POLLERS if name in ("poll", "select")])
def test_level_watch_is_silent_while_disarmed(listener: socket.socket, poller: str) -> None:
    loop, news, watch = watched(poller, listener)
    with connect(listener):
        loop.turn()
        assert news == []
        watch.rearm(always, never, 0.0)
        loop.turn()
        assert news == [0]
        watch.rearm(never, never, 0.0)
        loop.turn()
        assert news == [0]
        watch.rearm(always, never, 0.0)
        loop.turn()
        assert news == [0, 0]
    watch.close()
    loop.close()


def test_level_watch_looks_behind_an_order_ever_more_rarely(listener: socket.socket) -> None:
    loop, news, watch = watched("poll", listener)
    now, looks = 100.0, []
    for _ in range(8):
        watch.rearm(never, always, now)
        when = watch.next_look()
        assert when is not None
        watch.look(when - 0.001)
        assert len(news) == len(looks), "it looked too early"
        watch.look(when)
        looks.append(round(when - now, 3))
        assert len(news) == len(looks)
        now = when
    assert looks == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.32, 0.32]
    watch.rearm(never, never, now)
    assert watch.next_look() is None, "without an order there is nothing to look for"
    watch.rearm(never, always, now)
    assert watch.next_look() == now + 0.01
    loop.close()


def test_ipv6_name() -> None:
    try:
        made = bind("[::1]:0")
    except Exception as error:
        pytest.skip(f"no IPv6 here: {error}")
    with made:
        assert name_of(made).startswith("[::1]:")
        assert made.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def test_name_that_is_no_path_is_of_linux_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, address in (("linux", "\0run/s"), ("freebsd14", "@run/s")):
        monkeypatch.setattr(platform.sys, "platform", name)
        assert platform.unix_address("@run/s") == address
        assert platform.unix_address("/run/s") == "/run/s"


def test_usable_cpus() -> None:
    assert platform.usable_cpus() >= 1
