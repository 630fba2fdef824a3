"""What the system refuses to whoever serves the status keeps the pool from nothing."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from backchannel_trio.watching import StatusSocket


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EINVAL, errno.EMFILE, errno.ECONNABORTED])
def test_an_accept_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.setblocking(False)
        listener.bind(str(tmp_path / "status"))

        async def main() -> None:
            status = StatusSocket(listener, lambda: {"served": True})
            accept, failures = status._listener.accept, [OSError(number, "refused")]

            async def fails_once() -> Any:
                if failures:
                    raise failures.pop()
                return await accept()

            monkeypatch.setattr(status._listener, "accept", fails_once)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(status.serve)
                stream = await trio.open_unix_socket(str(tmp_path / "status"))
                async with stream:
                    assert await stream.receive_some() == b'{"served": true}\n'
                status.close()
            assert not failures

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01))
