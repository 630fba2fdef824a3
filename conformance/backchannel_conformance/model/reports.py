"""What a worker wrote, applied frame by frame; what breaks a rule, and which (BC-VIOL-01, BC-VIOL-04)."""

from __future__ import annotations

from .. import frames
from .pool import Pool
from .workers import READING, Order, Worker

__all__ = ["read"]


def read(pool: Pool, worker: Worker, octets: bytes) -> None:
    """``octets`` were read from the channel of ``worker``."""
    if worker.state not in READING:
        return
    whole, worker.rest = frames.cut(worker.rest + octets)
    try:
        for frame in whole:
            _frame(pool, worker, frame)
            if worker.state not in READING:
                return
    except frames.Violation as violation:
        pool.due.then()
        pool.kill(worker, "violation", clause=violation.requirement)


def _frame(pool: Pool, worker: Worker, octets: bytes) -> None:
    report = frames.decode(octets, "worker", first=not worker.said_hello)
    hello = report.get("hello")
    if hello and not hello["lowest"] <= frames.VERSION <= hello["highest"]:
        pool.due.then()
        pool.kill(worker, "violation", clause="BC-VER-05")
        pool.hopeless(worker, 76)
        return
    if report["capacity"] > pool.settings["capacity_ceiling"]:
        raise frames.Violation("BC-STATUS-07", "capacity above the ceiling")
    if hello:
        _hello(pool, worker, report)
        return
    _check(worker, report)
    worker.open, worker.capacity = report["open"], report["capacity"]
    if report["type"] == "BUSY":
        assert worker.order is not None
        _answer(pool, worker, worker.order, report)
    if not worker.capacity and worker.state in ("READY", "SUSPECT"):
        pool.due.then()
        pool.drain(worker, clause="BC-CAP-03")


def _hello(pool: Pool, worker: Worker, report: frames.Message) -> None:
    worker.said_hello, worker.capacity = True, report["capacity"]
    worker.responsive = "RESPONSIVE" in report["hello"]["features"]
    pool.sizer.failures = 0  # the system has given a process again (BC-SCALE-14)
    pool.step(worker, "hello")
    if worker.state == "STARTING":  # else it was drained before: nothing can be sent to it any more
        pool.send(worker, 0, 0, clause="BC-HELLO-04")


def _check(worker: Worker, report: frames.Message) -> None:
    """In the sequence of BC-VIOL-04."""
    order, busy = worker.order, report["type"] == "BUSY"
    if worker.state == "STARTING" and not busy:
        raise frames.Violation("BC-HELLO-05", "a status before the answer to the welcome")
    allowed = worker.open
    if busy:
        if order is None or report["order"] != order.number or report["accepted"] > order.max:
            raise frames.Violation("BC-BUSY-06", "no such order")
        if (report["accepted"] == order.max) != (report["reason"] == "FILLED"):
            raise frames.Violation("BC-BUSY-06", "reason and accepted do not fit")
        allowed += report["accepted"]
    elif (report["open"], report["capacity"]) == (worker.open, worker.capacity):
        raise frames.Violation("BC-STATUS-06", "nothing has changed")
    if report["open"] > allowed:
        raise frames.Violation("BC-STATUS-06", "more than its orders allow")
    if report["capacity"] and not worker.capacity:
        raise frames.Violation("BC-CAP-03", "capacity after the final 0")


def _answer(pool: Pool, worker: Worker, order: Order, report: frames.Message) -> None:
    accepted, reason = report["accepted"], report["reason"]
    pool.end_order(worker, filled=reason == "FILLED")
    worker.accepted += accepted
    if accepted:
        worker.series.clear()
        pool.sizer.served()
    if order.expired:
        pool.step(worker, "late_answer")
    elif worker.state == "STARTING":
        pool.step(worker, "welcomed")
        worker.was_ready = pool.was_ready = True
    elif order.due is not None:
        pool.expired = 0
    if reason != "FILLED":
        _short(pool, worker, order, accepted, reason)


def _short(pool: Pool, worker: Worker, order: Order, accepted: int, reason: str) -> None:
    listener = order.listener
    worker.passed_over.add(listener)
    if not accepted and reason != "PEER" and not order.expired:
        worker.series[listener] = worker.series.get(listener, 0) + 1
    if reason == "WORKER" or worker.series.get(listener, 0) >= pool.settings["short_in_a_row"]:
        worker.cool_until = pool.now + pool.settings["cool_down"]
        worker.series.clear()  # after a cool-down they all start again
    if reason == "SYSTEM":
        pool.backlogs[listener].cool_until = pool.now + pool.settings["cool_down"]
    if reason == "UNUSABLE":
        if worker.state == "READY":
            pool.due.then()
            pool.drain(worker, clause="BC-SHORT-04")
        pool.exited_early()
