"""The benchmark's own parts: what they would get wrong unnoticed."""

from __future__ import annotations

import math
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import load_generator  # noqa: E402
import plots  # noqa: E402
import ratios  # noqa: E402

# ------------------------------------------------------------------------------------------- ratios


def test_a_ratio_is_that_of_the_pairs_not_of_the_sums() -> None:
    found = ratios.ratio([1, 20], [2, 10])
    assert found.value == pytest.approx(1.0)


def test_the_interval_is_student_s() -> None:
    found = ratios.mean([1.0, 2.0, 3.0])
    half = 2.920 * 1.0 / math.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0 - half, 2.0 + half))


@pytest.mark.parametrize(
    ("low", "high", "least", "most", "met"),
    [
        (0.7, 0.79, 0.8, None, False),
        (0.7, 0.81, 0.8, None, True),
        (1.21, 1.5, None, 1.2, False),
        (1.19, 1.5, None, 1.2, True),
        (9.0, 9.1, None, None, True),
    ],
)
def test_a_goal_is_missed_only_by_the_whole_interval(
    low: float, high: float, least: float | None, most: float | None, met: bool
) -> None:
    assert ratios.Estimate((low + high) / 2, low, high).meets(least, most) is met


# -------------------------------------------------------------------------------------------- plots


def test_plots_are_xml_and_show_what_they_are_given() -> None:
    bars = plots.bars(
        "A & B", "what", "x", [("one <1>", ratios.Estimate(1, 0.5, 2)), ("two", ratios.Estimate(3, 3, 3))], 1.0
    )
    root = ElementTree.fromstring(bars)
    widths = [float(bar.attrib["width"]) for bar in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths[1] == pytest.approx(3 * widths[0], rel=0.01)
    lines = plots.lines("t", "x", "y", [("s", [(1, 1), (10, 5)])], log=True)
    assert len(list(ElementTree.fromstring(lines).iter("{http://www.w3.org/2000/svg}polyline"))) == 1


# --------------------------------------------------------------------------------------------- load


class Server:
    """Answers every connection at once, but for one stall after the first ``before`` of them."""

    def __init__(self, stall: float, before: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.stall, self.before = stall, before
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        served = 0
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            if served == self.before:
                time.sleep(self.stall)
            served += 1
            with connection:
                connection.recv(256)
                connection.sendall(b"1\n")


@pytest.fixture
def stalling() -> Iterator[Server]:
    server = Server(0.5, 50)
    yield server
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()
    server.thread.join()


def test_an_open_loop_does_not_wait_for_a_server_that_stalls(stalling: Server) -> None:
    """300 a second against half a second of stall: about 150 requests fall into it, and each is told of."""
    task = load_generator.open_loop(300, 1.0)
    found = load_generator.run_open({**task, "address": stalling.listener.getsockname()})
    assert found["errors"] == 0
    # a closed loop of one client would have met the stall once, in its maximum
    assert found["all.p90"] > 0.25


def test_a_closed_loop_counts_every_answer(stalling: Server) -> None:
    found = load_generator.run_closed({**load_generator.closed(4, 0.8), "address": stalling.listener.getsockname()})
    assert found["errors"] == 0
    assert found["connections"] > 50
    assert found["all.max"] > 0.4


def test_the_schedule_is_the_same_each_time() -> None:
    mix: load_generator.Mix = [(0.9, "light", "n"), (0.1, "heavy", "b 1")]
    first, second = load_generator.drawer(mix, 1), load_generator.drawer(mix, 1)
    drawn = [first() for _ in range(200)]
    assert drawn == [second() for _ in range(200)]
    assert {kind for kind, _ in drawn} == {"light", "heavy"}


def answering(*parts: bytes) -> tuple[str, int]:
    """A server that answers each connection with ``parts``, one after another, and closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                for part in parts:
                    connection.sendall(part)
                    time.sleep(0.01)

    threading.Thread(target=serve, daemon=True).start()
    address: tuple[str, int] = listener.getsockname()
    return address


@pytest.mark.parametrize(("status", "well"), [(b"200 OK", True), (b"503 Busy", False)])
def test_a_response_is_read_to_its_end(status: bytes, well: bool) -> None:
    address = answering(b"HTTP/1.1 " + status + b"\r\n\r\n", b"the body")
    found = load_generator.run_closed(
        {**load_generator.closed(1, 0.1, [(1.0, "all", "/")], http=True), "address": address}
    )
    assert (found["errors"] == 0, found["connections"] > 0) == (well, well)
    if well:
        assert found["all.p50"] > 0.015
