"""What is broken in :mod:`backchannel.lifecycle`."""

from __future__ import annotations

from backchannel import lifecycle
from backchannel.lifecycle import Lifecycle

from . import rewrite, wrong


@wrong("BC-SILENT-05", role="parent", kills=["test_silence_ends_in_a_kill"])
def killed_at_the_first_silence() -> None:
    rewrite(
        Lifecycle._set_deadline,
        "now + getattr(self._settings, setting)",
        "now + (0.0 if worker.state is SlotState.SUSPECT else getattr(self._settings, setting))",
    )


@wrong("BC-SILENT-05", role="parent", kills=["test_silence_begins_anew"])
def first_silence_counts() -> None:
    rewrite(
        Lifecycle.step,
        ("        worker.state_deadline.when = None\n        worker.state = state\n"),
        (
            "        suspected = worker.state is SlotState.SUSPECT\n"
            "        worker.state = state\n"
            "        if state is (SlotState.READY if suspected else SlotState.SUSPECT) and (suspected or worker.state_deadline.when):\n"
            "            return\n"
            "        worker.state_deadline.when = None\n"
        ),
    )


@wrong("BC-DEATH-03", role="parent", kills=["test_closed_and_still_there"])
def closed_worker_forgotten() -> None:
    del lifecycle.DEADLINES[lifecycle.SlotState.LOST]


@wrong("BC-DRAIN-02", role="parent", kills=["test_drain_ends_at_its_deadline"])
def drain_without_end() -> None:
    del lifecycle.DEADLINES[lifecycle.SlotState.DRAINING]


@wrong("BC-DRAIN-02", role="pool", kills=["test_held_connections_outlive_their_generation"])
def drains_without_patience() -> None:
    rewrite(
        Lifecycle._set_deadline,
        "now + getattr(self._settings, setting)",
        "now + (0.0 if worker.state is SlotState.DRAINING else getattr(self._settings, setting))",
    )


@wrong("BC-DEATH-03", role="parent", kills=["test_drained_worker_that_closes_its_channel"])
def lost_worker_keeps_its_drain_deadline() -> None:
    rewrite(
        Lifecycle._set_deadline,
        "now + getattr(self._settings, setting)",
        "now + getattr(self._settings, 'drain_deadline' if worker.drained else setting)",
    )


@wrong("BC-KILL-05", role="parent", kills=["test_silence_ends_in_a_kill"])
def slot_is_free_before_the_worker_is() -> None:
    rewrite(
        Lifecycle.kill,
        "    self._actions.append(Kill(worker.slot))\n",
        "    self._slots.remove(worker)\n    self._actions.append(Kill(worker.slot))\n",
    )
