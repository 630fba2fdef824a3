"""What is broken in :mod:`backchannel_server.signals`."""

from __future__ import annotations

from backchannel_server.signals import WakeUp

from . import rewrite, wrong


@wrong("BC-FORK-07", role="parent", kills=["test_descriptors_of_a_program"])
def own_descriptors_survive_exec() -> None:
    rewrite(
        WakeUp.__init__,
        "        os.set_blocking(end, False)\n",
        ("        os.set_blocking(end, False)\n        os.set_inheritable(end, True)\n"),
    )
