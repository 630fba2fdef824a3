"""What is broken in :mod:`backchannel_server.listeners`."""

from __future__ import annotations

from backchannel_server import listeners

from . import rewrite, wrong


@wrong("BC-FORK-07", role="pool", kills=["test_successor_passes_nothing_on", "test_passed_listeners"])
def inherited_listeners_stay_open_on_exec() -> None:
    rewrite(listeners.adopt, "    os.set_inheritable(number, False)\n", "")


@wrong("BC-FORK-07", role="pool", kills=["test_parent_passes_nothing_on"])
def listener_open_on_exec() -> None:
    rewrite(
        listeners.bind,
        "    listener.setblocking(False)\n",
        ("    listener.setblocking(False)\n    listener.set_inheritable(True)\n"),
    )
