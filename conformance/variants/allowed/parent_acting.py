"""When and in which order a parent does what it has decided: on time means not before, and what concerns different
workers may be done in any order (BC-PASS-04).
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from backchannel import HalfClose, Kill, Parent, Send
from backchannel.deadlines import Deadlines
from backchannel.sizing import Decision, Sizing, Totals
from backchannel.states import SlotState
from backchannel_server.driver import SIGNALS, Driver
from backchannel_server.exec_binding import Launcher
from backchannel_sync.parent import Pool

from . import allowed, put

LATE = 0.05
"""Seconds that a deadline may be acted on late."""


@allowed("BC-FORK-09", roles=["parent", "pool"])
def deadlines_late() -> None:
    """Every deadline passes up to 50 ms late, as where the clock ticks slowly or others run first."""
    exactly = Deadlines.set

    def late(self: Deadlines, deadline: Any, when: float) -> None:
        exactly(self, deadline, when + random.uniform(0, LATE))

    put(Deadlines, "set", late)


def actions_by(key: Callable[[Any], Any]) -> None:
    """What concerns one worker stays in its order; what concerns none, as the end of the listeners, in its place."""
    take = Parent.take_actions

    def sorted_actions(self: Parent) -> list[Any]:
        done: list[Any] = []
        group: list[Any] = []
        for action in take(self):
            if getattr(action, "slot", None) is None:
                done += [*sorted(group, key=key), action]
                group = []
            else:
                group.append(action)
        return done + sorted(group, key=key)

    put(Parent, "take_actions", sorted_actions)


@allowed("BC-PASS-04", roles=["parent", "pool"])
def highest_slot_first() -> None:
    actions_by(lambda action: -action.slot)


@allowed("BC-PASS-04", roles=["parent"])
def orders_before_ends() -> None:
    actions_by(lambda action: not isinstance(action, Send))


@allowed("BC-PASS-04", roles=["parent"])
def ends_before_orders() -> None:
    actions_by(lambda action: not isinstance(action, Kill | HalfClose))


@allowed("BC-WAIT-03", roles=["parent"])
def wakes_without_news() -> None:
    """It turns now and then although nothing has happened, far below the 1 % of a processor that it may use."""
    next_turn = Driver.next_turn

    def soon(self: Driver) -> float:
        when, turn = next_turn(self), self._loop.time() + random.uniform(0.01, 0.1)
        return turn if when is None else min(when, turn)

    put(Driver, "next_turn", soon)


@allowed("BC-SCALE-16", roles=["parent", "pool"], advice=["BC-SCALE-16"])
def scales_by_the_clock() -> None:
    """Passes are made at the ticks of a clock, and nothing is spawned or retired in between."""
    decide, next_pass = Sizing.decide, Sizing.next_pass
    ticks: dict[int, float] = {}

    def at_a_tick(self: Sizing, now: float) -> Decision:
        tick = ticks.pop(id(self), now)
        decision = decide(self, now) if now >= tick else Decision()
        ticks[id(self)] = now + self._scaling.period if now >= tick else tick
        return decision

    put(Sizing, "decide", at_a_tick)
    put(Sizing, "next_pass", lambda self: ticks.get(id(self)) or next_pass(self))


@allowed("BC-SCALE-15", roles=["parent"], without=["scaling"])
def replaces_who_has_exited() -> None:
    """It does not scale: a worker that it drains keeps its place until it has exited."""
    add = Totals.add

    def count(self: Totals, state: SlotState, room: int, sign: int = 1) -> None:
        add(self, state, room, sign)
        if state is SlotState.DRAINING:
            self.counting += sign

    put(Totals, "add", count)


@allowed("BC-STOP-03", roles=["parent", "pool"], advice=["BC-STOP-03"])
def ends_by_the_interrupt() -> None:
    """SIGINT ends the parent as it ends any program; its workers read the end of their channels."""

    def die(self: Driver) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)

    put(Driver, "interrupt", die)


@allowed("BC-PASS-01", roles=["parent"])
def starts_late() -> None:
    """Its run-time takes a while before it does anything."""
    time.sleep(0.7)


@allowed("BC-SCALE-01", roles=["parent"])
def each_spawn_takes_a_while() -> None:
    start = Launcher.start

    def slowly(self: Launcher, *arguments: Any) -> int:
        time.sleep(0.03)
        return start(self, *arguments)

    put(Launcher, "start", slowly)


@allowed("BC-FORK-06", roles=["parent"])
def in_another_thread() -> None:
    """The main thread is parked, and another one is the parent; its workers are programs of their own."""

    def run(self: Pool) -> int:
        driver, ended = self.driver, list[int | BaseException]()

        def parent() -> None:
            try:
                driver.begin()
                while not driver.over:
                    self._wait()
                    driver.turn()
                failure = driver.failure
                ended.append(failure.status if failure is not None else 130 if driver.interrupted else 0)
            except BaseException as error:
                ended.append(error)
            finally:
                driver.close()

        with self._wake_up.catching(SIGNALS):
            thread = threading.Thread(target=parent)
            thread.start()
            thread.join()
        (status,) = ended
        if isinstance(status, BaseException):
            raise status
        return status

    put(Pool, "run", run)


@allowed("BC-VIOL-02", roles=["parent"])
def log_lines_of_another_form() -> None:
    """What the log must say is in the middle of a line, between quotation marks."""

    def note(self: Driver, note: Any) -> None:
        words = [note.requirement, f"slot {note.slot}", note.text]
        print(json.dumps({"level": "warn", "words": words, "pid": os.getpid()}), flush=True)

    put(Driver, "_note", note)
