"""The hello, the welcome and the version that both agree on."""

from __future__ import annotations

import pytest
from backchannel_conformance import frames
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Workers
from backchannel_conformance.worker_under_test import HELLO_LIMIT

CAPACITIES = pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=pytest.mark.classes("event"))])


@CAPACITIES
@pytest.mark.req(
    "BC-HELLO-01",
    "BC-HELLO-08",
    "BC-VER-01",
    "BC-VER-02",
    "BC-VER-07",
    "BC-VER-08",
    "BC-VER-10",
    "BC-FRAME-01",
    "BC-FORK-08",
)
def test_hello_is_first(workers: Workers, capacity: int) -> None:
    """The first message is a hello: the versions spoken, and the capacity that the worker was given."""
    worker = workers(capacity=capacity)
    hello = worker.greet()
    versions = hello.order >> 24, hello.order >> 16 & 0xFF
    check(versions[0] <= frames.VERSION <= versions[1], "BC-VER-01", f"it speaks {versions}, and is tested as 1.0")
    check(hello.capacity == capacity, "BC-HELLO-08", f"it was given capacity {capacity}, and says {hello.capacity}")


@pytest.mark.req("BC-HELLO-02", "BC-STATUS-01")
def test_later_idle_has_no_hello(workers: Workers) -> None:
    """An IDLE after a connection, which outlasts the answer to its order, has a hello word of 0."""
    worker = workers.greeted()
    held = worker.client.send("hold")
    worker.order(1)
    worker.answer()
    held.answer()
    held.close()
    idle = worker.status()
    check(idle == frames.idle(1), "BC-HELLO-02", f"{idle.octets.hex()}")


@pytest.mark.req("BC-HELLO-05", "BC-BUSY-01")
def test_silence_between_hello_and_welcome(workers: Workers) -> None:
    """Clients come and go before the welcome; the first thing that follows the hello is the welcome's answer."""
    worker = workers()
    worker.must("BC-HELLO-01", HELLO_LIMIT)
    for _ in range(3):
        worker.client.send("who").close()
    worker.barrier()
    check(not worker.statuses, "BC-HELLO-05", f"{worker.statuses} came before the answer to the welcome")


@pytest.mark.req("BC-DEATH-05", "BC-DRAIN-12")
def test_end_before_the_welcome(workers: Workers) -> None:
    """The parent goes before it has sent anything: the worker exits with 0."""
    worker = workers()
    worker.must("BC-HELLO-01", HELLO_LIMIT)
    worker.half_close()
    worker.ended("BC-DRAIN-12")
    worker.exits(0, "BC-DRAIN-12")


@pytest.mark.parametrize("version", [0x11, 0x20, 0x00])
@pytest.mark.req("BC-VER-06", "BC-VIOL-07", "BC-VIOL-08")
def test_welcome_in_another_version(workers: Workers, version: int) -> None:
    """A welcome in a version that the worker does not speak: it writes nothing more, and exits with 76."""
    worker = workers()
    worker.must("BC-HELLO-01", HELLO_LIMIT)
    worker.send(frames.accept(1, 0)._replace(version=version))
    worker.ended("BC-VIOL-07")
    worker.exits(76, "BC-VER-06")


@pytest.mark.req("BC-FRAME-03", "BC-VIOL-07", "BC-VIOL-08")
def test_version_changes_later(workers: Workers) -> None:
    """After a welcome in 1.0, an order in 1.1."""
    worker = workers.greeted()
    worker.send(frames.accept(2, 0)._replace(version=0x11))
    worker.ended("BC-VIOL-07")
    worker.exits(76, "BC-FRAME-03")


@pytest.mark.req("BC-HELLO-17", "BC-DEATH-05")
def test_end_before_the_hello(workers: Workers) -> None:
    """The parent goes while the worker starts: it exits with 0, whether it has said hello by then or not."""
    worker = workers()
    worker.half_close()
    if worker.frame("BC-HELLO-17", 20) is not None:
        worker.ended("BC-HELLO-17")
    worker.exits(0, "BC-HELLO-17")
