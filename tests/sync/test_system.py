"""The platform module against the real system: edges come once, counts are counts."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator

import pytest
from backchannel_sync import system
from backchannel_sync.listening import bind, name_of


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    made = bind("127.0.0.1:0")
    yield made
    made.close()


def connect(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname())


def test_pending_counts(listener: socket.socket) -> None:
    assert system.pending(listener, news=False) == 0
    clients = [connect(listener) for _ in range(3)]
    assert system.pending(listener, news=False) == 3
    listener.accept()[0].close()
    assert system.pending(listener, news=True) == 2
    for client in clients:
        client.close()


def test_pending_without_a_count(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    monkeypatch.setattr(system, "_count", lambda _listener: None)
    assert system.pending(listener, news=True) == 0
    with connect(listener), connect(listener):
        assert system.pending(listener, news=False) == 1


def test_count_of_zero_is_checked_against_news(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    monkeypatch.setattr(system, "_count", lambda _listener: 0)
    with connect(listener):
        assert system.pending(listener, news=True) == 1
        assert system.pending(listener, news=False) == 0


def news_of(
    watch_type: type, listener: socket.socket
) -> tuple[selectors.BaseSelector, list[int], system.ListenerWatch]:
    selector = selectors.DefaultSelector()
    news: list[int] = []
    return selector, news, watch_type(selector, [listener], news.append)


def turn(selector: selectors.BaseSelector) -> None:
    for key, mask in selector.select(0):
        key.data(mask)


def test_edge_comes_once_for_each_arrival(listener: socket.socket) -> None:
    selector, news, watch = news_of(system.EdgeWatch, listener)
    with connect(listener):
        turn(selector)
        assert news == [0]
        turn(selector)
        assert news == [0]
        with connect(listener):
            turn(selector)
            assert news == [0, 0]
            assert selector.select(0) == []
    watch.close()
    selector.close()


def test_level_watch_is_silent_while_disarmed(listener: socket.socket) -> None:
    selector, news, watch = news_of(system.LevelWatch, listener)
    with connect(listener):
        turn(selector)
        assert news == []
        watch.rearm(lambda _index: True)
        turn(selector)
        assert news == [0]
        watch.rearm(lambda _index: False)
        turn(selector)
        assert news == [0]
        watch.rearm(lambda _index: True)
        turn(selector)
        assert news == [0, 0]
    watch.close()
    selector.close()


def test_ipv6_name() -> None:
    try:
        made = bind("[::1]:0")
    except Exception as error:
        pytest.skip(f"no IPv6 here: {error}")
    with made:
        assert name_of(made).startswith("[::1]:")
        assert made.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def test_usable_cpus() -> None:
    assert system.usable_cpus() >= 1
