"""Carrying out an order: how many attempts, and what they come to."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from backchannel import Accept, Reason
from backchannel_server.accepting import attempt, reason_for


class Listener:
    """A listener whose ``accept`` does what a script says: an errno, or a connection."""

    def __init__(self, *script: int | str) -> None:
        self.script = list(script)

    def accept(self) -> tuple[Any, None]:
        step = self.script.pop(0)
        if isinstance(step, int):
            raise OSError(step, "scripted")
        return step, None


@pytest.mark.parametrize(
    ("script", "most", "taken", "reason", "left"),
    [
        (["a"], 1, ["a"], Reason.FILLED, 0),
        (["a", "b"], 1, ["a"], Reason.FILLED, 1),
        ([errno.EAGAIN, "b"], 2, [], Reason.EMPTY, 1),
        (["a", errno.EAGAIN, "b"], 3, ["a"], Reason.EMPTY, 1),
        ([errno.ECONNABORTED, "b"], 1, [], Reason.PEER, 1),
        ([errno.ECONNABORTED, "b"], 2, ["b"], Reason.PEER, 0),
        ([errno.ECONNABORTED, errno.EAGAIN], 2, [], Reason.EMPTY, 0),
        ([errno.EMFILE, "b"], 2, [], Reason.WORKER, 1),
        (["a", errno.ENFILE, "b"], 3, ["a"], Reason.SYSTEM, 1),
        ([errno.EBADF], 1, [], Reason.UNUSABLE, 0),
        ([], 0, [], Reason.FILLED, 0),
    ],
)
def test_attempts(script: list[int | str], most: int, taken: list[str], reason: Reason, left: int) -> None:
    listener = Listener(*script)
    assert attempt([listener], Accept(1, 0, most)) == ([(one, None) for one in taken], reason)  # type: ignore[list-item]
    assert len(listener.script) == left


def test_unknown_errno() -> None:
    assert reason_for(None) is Reason.UNUSABLE
