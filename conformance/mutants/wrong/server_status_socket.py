"""What is broken in :mod:`backchannel_server.status_socket`."""

from __future__ import annotations

from backchannel_server.status_socket import StatusSocket

from . import rewrite, wrong


@wrong("BC-WAIT-03", role="pool", kills=["test_no_descriptor_for_a_reader"])
def looks_at_a_reader_it_cannot_take() -> None:
    rewrite(
        StatusSocket._greet,
        ("        self._loop.unwatch(self._listener)\n        self._cools_until = self._loop.time() + COOL_DOWN\n"),
        "        pass\n",
    )
