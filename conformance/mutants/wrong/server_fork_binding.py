"""What is broken in :mod:`backchannel_server.fork_binding`."""

from __future__ import annotations

from backchannel_server import fork_binding

from . import rewrite, wrong


@wrong("BC-FORK-04", role="pool", kills=["test_workers_block_no_signal"])
def signal_mask_kept() -> None:
    rewrite(
        fork_binding.fork_worker,
        ("            signal.pthread_sigmask(signal.SIG_SETMASK, before)\n            status = child()"),
        "            status = child()",
    )
