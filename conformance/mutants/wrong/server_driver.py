"""What is broken in :mod:`backchannel_server.driver`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from backchannel_server.channels import Channels
from backchannel_server.driver import Driver, Start
from backchannel_server.loops import Loop
from backchannel_server.opening import Opened

from . import rewrite, wrong


@wrong("BC-STOP-03", role="parent", kills=["test_interrupt_ends_all"])
def interrupt_drains() -> None:
    rewrite(
        Driver.interrupt,
        ("    self.handover.abandon(signal.SIGKILL)\n    self.interrupted = True\n"),
        "    self.core.stop(self._loop.time())\n",
    )


@wrong("BC-WAIT-02", role="pool", kills=["test_parent_accepts_nothing"])
def parent_accepts() -> None:
    rewrite(
        Driver._pass,
        "    core.dispatch(self.arrivals.pending())\n",
        (
            "    counts = self.arrivals.pending()\n"
            "    for _ in range(sum(counts.values())):\n"
            "        self.held = [*getattr(self, 'held', []), self.opened.listeners.sockets[0].accept()[0]]\n"
            "        self.held[-1].send(b'%d -\\n' % __import__('os').getpid())\n"
            "    core.dispatch({index: 0 for index in counts})\n"
        ),
    )


@wrong("BC-VIOL-02", role="parent", kills=["test_idle_worker_errs", "test_ordered_worker_errs"])
def violation_logged_without_its_id() -> None:
    rewrite(Driver._note, 'what = f" [{requirement}]" if requirement else ""', 'what = ""')


@wrong("BC-LOSS-01", role="pool", kills=["test_death_before_accept"])
def drops_a_connection_at_a_death() -> None:
    begin, end = Driver.__init__, Channels._end

    def begins(self: Driver, loop: Loop, start: Start, opened: Opened, *more: Any, **options: Any) -> None:
        begin(self, loop, start, opened, *more, **options)
        self.channels.listeners = opened.listeners.sockets  # type: ignore[attr-defined]

    def ends(self: Channels, slot: int) -> None:
        # before the core is told, which orders another worker to take it
        with suppress(OSError):
            self.listeners[0].accept()[0].close()  # type: ignore[attr-defined]
        end(self, slot)

    Driver.__init__ = begins  # type: ignore[method-assign]
    Channels._end = ends  # type: ignore[method-assign]


@wrong("BC-BATON-01", role="pool", kills=["test_no_herd_before_the_hand_over"])
def successor_watches_at_once() -> None:
    rewrite(Driver.__init__, "standby=opened.baton is not None)", "standby=False)")
    rewrite(
        Driver.begin,
        "        self.handover.begin()\n",
        (
            "        self.handover.begin()\n"
            "        if self.opened.baton is not None:\n"
            "            self.arrivals.start()\n"
        ),
    )


@wrong("BC-STOP-05", role="parent", kills=["test_second_stop_changes_nothing"])
def second_stop_is_in_haste() -> None:
    rewrite(
        Driver.stop,
        ("    before = self.core.state\n    self.core.stop(self._loop.time())\n"),
        (
            "    before = self.core.state\n"
            "    if self.core.stopping:\n"
            "        self.interrupted = True\n"
            "    self.core.stop(self._loop.time())\n"
        ),
    )


@wrong("BC-BATON-06", role="pool", kills=["test_stop_while_a_successor_waits"])
def stop_leaves_the_successor_alone() -> None:
    rewrite(Driver.stop, "    self.handover.tell(signal.SIGTERM)\n", "    pass\n")


@wrong("BC-BATON-07", role="pool", kills=["test_stop_during_the_hand_over"])
def stop_lets_go_of_the_baton() -> None:
    rewrite(Driver.stop, "    self.handover.tell(signal.SIGTERM)\n", "    self.handover.abandon(signal.SIGTERM)\n")


@wrong("BC-STOP-09", role="parent", kills=["test_stop_closes_every_listener"])
def last_listener_stays_open() -> None:
    rewrite(
        Driver._do,
        "self.opened.close_listeners(shut_down=self.core.watches)",
        "self.opened.listeners.sockets[0].close()",
    )
