"""What can happen to a parent, by the names that a trace gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from . import dispatch, reload, reports
from .actions import Deviation
from .workers import READING, Worker

if TYPE_CHECKING:
    from .parent import Model

__all__ = ["INPUTS"]


def _worker(model: Model, slot: int) -> Worker:
    """Raises :class:`Deviation` if there is none."""
    if slot not in model.pool.workers:
        raise Deviation(f"something is said of worker {slot}, and there is none")
    return model.pool.workers[slot]


def _start(model: Model) -> None:
    model.pool.due.then()
    for _ in range(model.pool.sizer.rules["start"]):
        model.pool.spawn(clause="BC-SCALE-01")


def _readable(model: Model, listener: int) -> None:
    model.pool.backlogs[listener].look_again()


def _received(model: Model, slot: int, data: str) -> None:
    reports.read(model.pool, _worker(model, slot), bytes.fromhex(data))


def _eof(model: Model, slot: int) -> None:
    worker = _worker(model, slot)
    if worker.state in READING:
        model.pool.step(worker, "eof")
        model.pool.end_order(worker)  # BC-DEATH-02


def _send_failed(model: Model, slot: int) -> None:
    worker = _worker(model, slot)
    if worker.state in READING:
        model.pool.due.then()
        model.pool.kill(worker, "violation", clause="BC-KILL-02")


def _spawn_failed(model: Model, slot: int, reason: str = "") -> None:
    model.pool.step(_worker(model, slot), "exit")
    del model.pool.workers[slot]
    model.pool.sizer.could_not_start(model.pool.now)


def _exited(model: Model, slot: int, status: int) -> None:
    model.pool.due.then()
    model.pool.reap(_worker(model, slot), status)


def _stop(model: Model) -> None:
    if not model.become("stop"):
        return
    if model.state == "DRAINING":  # on STANDBY what is pending is another parent's (BC-STOP-06)
        model.pool.drain_all("BC-STOP-06")
        return
    model.pool.abandon_reload()
    model.stop_by = model.pool.now + model.pool.settings["stop_deadline"]
    _look_again(model)


def _reload(model: Model, at_once: bool = False) -> None:
    if model.become("reload"):
        model.kept = None
        reload.begin(model.pool, at_once=at_once)
    elif model.state == "STANDBY":
        model.kept = at_once  # a parent may keep it until it is RUNNING


def _hand_over(model: Model) -> None:
    model.become("hand_over")


def _keep(model: Model) -> None:
    if model.become("keep"):
        _look_again(model)


def _take_over(model: Model) -> None:
    if model.become("baton"):
        _look_again(model)


def _judge(model: Model) -> None:
    model.judge(model.pool.now)


def _scale(model: Model) -> None:
    model.scale()


def _dispatch(model: Model, counts: Mapping[str, int]) -> None:
    """As a trace has it: the counts are those that were read, and all that had to be read are among them."""
    read = {int(listener): count for listener, count in counts.items()}
    if model.dispatching:
        for listener in dispatch.must_count(model.pool, stopping=model.state == "STOPPING") - set(read):
            raise Deviation(f"BC-PEND-02: the pending count of listener {listener} was not read")
    model.dispatch(read)


def _look_again(model: Model) -> None:
    for backlog in model.pool.backlogs:
        backlog.look_again()


INPUTS: Final[Mapping[str, Callable[..., None]]] = {
    "dispatch": _dispatch,
    "eof": _eof,
    "exited": _exited,
    "hand_over": _hand_over,
    "judge": _judge,
    "keep": _keep,
    "readable": _readable,
    "received": _received,
    "reload": _reload,
    "scale": _scale,
    "send_failed": _send_failed,
    "spawn_failed": _spawn_failed,
    "start": _start,
    "stop": _stop,
    "take_over": _take_over,
}
