"""What is broken in :mod:`backchannel_server.errors`."""

from __future__ import annotations

from backchannel_server.errors import StartError

from . import wrong


@wrong("BC-EXEC-14", role="worker", kills=["test_worker_refuses_a_missing_channel"])
def missing_channel_is_status_1() -> None:
    begin = StartError.__init__

    def exits_at_once(self: StartError, status: int, message: str) -> None:
        begin(self, status, message)
        if "descriptor" in message:
            raise SystemExit(1)

    StartError.__init__ = exits_at_once  # type: ignore[method-assign]
