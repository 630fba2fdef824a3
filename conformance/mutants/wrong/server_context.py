"""What is broken in :mod:`backchannel_server.context`."""

from __future__ import annotations

from backchannel_server import context

from . import rewrite, wrong


@wrong("BC-EXEC-05", role="worker", kills=["test_worker_descriptors_end_at_exec"])
def descriptors_passed_on() -> None:
    rewrite(
        context.enter,
        "    _current = info\n",
        ("    _current = info\n    import os\n    os.set_inheritable(3, True)\n"),
    )
