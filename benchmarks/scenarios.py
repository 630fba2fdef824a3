"""The scenarios: which servers are compared under which load, and which goal each figure must reach.

:func:`scenarios` is to be read as the specification of the benchmark. ``pace`` shortens everything for a quick look;
the number of rounds stays, so that the intervals mean the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from comparisons import Comparison, Row
from load_generator import Mix, burst, closed, hold, open_loop
from servers_under_test import SERVICES, RunningServer, alternative, service, sync, trio

__all__ = ["cross_product", "scenarios"]

HEAVY_TAIL: Mix = [(0.99, "light", "b 200"), (0.01, "heavy", "b 20000")]
HEAVY_PAGES: Mix = [(0.99, "light", "/b/200"), (0.01, "heavy", "/b/20000")]


def scenarios(pace: float = 1.0) -> Iterator[Comparison]:
    """All comparisons whose rows have a goal, and what is shown beside them."""
    slice_ = 1.0 * pace
    sync_1, sync_64 = "sync, capacity 1", "sync, capacity 64"
    folded_1 = sync(1, 8, handler="handlers:brief_blocking", name="sync, capacity 1, folded")
    folded_64 = sync(64, 8, handler="handlers:brief_events", name="sync, capacity 64, folded")
    blocking, exclusive, reuseport, herd = "blocking accept", "EPOLLEXCLUSIVE", "SO_REUSEPORT", "naive herd"

    yield Comparison(
        "blocking",
        "capacity 1, 8 workers, 32 clients, null handler",
        [sync(1, 8), folded_1, alternative("blocking", 8)],
        closed(32, slice_),
        [
            Row("(a) throughput against blocking accept", "throughput", sync_1, blocking, least=0.80),
            Row("(a) the same, folded", "throughput", folded_1.name, blocking),
            Row("(a) folded: CPU of all processes against blocking accept", "server_us", folded_1.name, blocking),
            Row("(a) folded: parent's CPU for each connection", "parent_us", folded_1.name, how="value", unit="µs"),
            Row("(a) CPU of all processes against blocking accept", "server_us", sync_1, blocking),
            Row("(a) parent's CPU for each connection", "parent_us", sync_1, how="value", most=20, unit="µs"),
            Row("(a) a sync worker's CPU for each connection", "worker_us", sync_1, how="value", unit="µs"),
            Row(
                "(a) a blocking-accept worker's CPU for each connection", "worker_us", blocking, how="value", unit="µs"
            ),
        ],
    )
    for clients, least in ((8, 0.8), (64, 0.8), (256, 1.0)):
        yield Comparison(
            f"event-{clients}",
            f"capacity 64, 8 workers, {clients} clients, null handler",
            [sync(64, 8), folded_64, trio(64, 8), alternative("exclusive", 8), alternative("reuseport", 8)],
            closed(clients, slice_),
            [
                Row(
                    f"(a) {clients} clients: throughput against EPOLLEXCLUSIVE",
                    "throughput",
                    sync_64,
                    exclusive,
                    least=least,
                ),
                Row(f"(a) {clients} clients: throughput against SO_REUSEPORT", "throughput", sync_64, reuseport),
                Row(
                    f"(a) {clients} clients: CPU of all processes against EPOLLEXCLUSIVE",
                    "server_us",
                    sync_64,
                    exclusive,
                ),
                Row(f"(a) {clients} clients: folded, against EPOLLEXCLUSIVE", "throughput", folded_64.name, exclusive),
                Row(
                    f"(a) {clients} clients: trio workers' against EPOLLEXCLUSIVE",
                    "throughput",
                    "trio, capacity 64",
                    exclusive,
                ),
                Row(
                    f"(a) {clients} clients: parent's CPU for each connection",
                    "parent_us",
                    sync_64,
                    how="value",
                    unit="µs",
                ),
            ],
        )
    yield Comparison(
        "herd",
        "128 event-based workers, 2 clients, null handler",
        [sync(64, 128), alternative("herd", 128)],
        closed(2, slice_),
        [
            Row("(a) 128 workers: throughput against the naive herd", "throughput", sync_64, herd, least=5),
            Row("(a) 128 workers: CPU of all processes against the naive herd", "server_us", sync_64, herd),
        ],
    )
    yield Comparison(
        "latency",
        "capacity 1, 8 workers, 1 client, null handler",
        [sync(1, 8), folded_1, alternative("blocking", 8)],
        closed(1, slice_),
        [
            Row(
                "added latency at 1 client, p50, against blocking accept",
                "all.p50",
                sync_1,
                blocking,
                "difference",
                most=30,
                scale=1e6,
                unit="µs",
            ),
            Row("the same, folded", "all.p50", folded_1.name, blocking, "difference", scale=1e6, unit="µs"),
            Row("(a) 1 client: parent's CPU for each connection", "parent_us", sync_1, how="value", unit="µs"),
        ],
    )
    yield Comparison(
        "heavy-tail",
        "8 workers, 600 requests a second: 0.2 ms of CPU each, 1 % of them 20 ms",
        [sync(64, 8), sync(1, 8), alternative("exclusive", 8), alternative("reuseport", 8)],
        open_loop(600, 3 * slice_, HEAVY_TAIL),
        [
            Row("(b) p99 of light requests against SO_REUSEPORT", "light.p99", sync_64, reuseport, most=0.5),
            Row("(b) p99 of light requests against EPOLLEXCLUSIVE", "light.p99", sync_64, exclusive, most=1.0),
            Row("(b) the same at capacity 1, against SO_REUSEPORT", "light.p99", sync_1, reuseport),
            Row("(b) the same at capacity 1, against EPOLLEXCLUSIVE", "light.p99", sync_1, exclusive),
        ],
    )
    count = 10_000 if pace >= 1 else 2_000
    held = [sync(1000, 16, name="sync, capacity 1000"), alternative("exclusive", 16), alternative("reuseport", 16)]
    many_held = f"{count:,} long-lived connections over 16 workers"
    for name, at_once, text in (("hold", 1, "one after another"), ("rush", 128, "128 at once")):
        goal = 1 if at_once == 1 else None
        yield Comparison(
            name,
            f"{many_held}, {text}, then churn of a tenth",
            held,
            hold(count, count // 10, at_once),
            [
                Row(
                    f"(c) {text}: connections on the fullest minus the emptiest worker",
                    "spread",
                    held[0].name,
                    how="worst",
                    most=goal,
                ),
                Row(
                    f"(c) {text}, after churn",
                    "spread_after_churn",
                    held[0].name,
                    how="worst",
                    most=goal,
                    label="the same, after churn",
                ),
                Row(f"(c) {text}: EPOLLEXCLUSIVE", "spread", exclusive, how="worst"),
                Row(f"(c) {text}: SO_REUSEPORT", "spread", reuseport, how="worst"),
            ],
            rounds=3 if pace >= 1 else 2,
            fresh=True,
        )
    period = 10.0 * pace
    yield Comparison(
        "stuck",
        f"8 workers, 200 requests a second, one worker stuck for {period / 10:g} s in every {period:g}",
        [sync(64, 8), alternative("reuseport", 8)],
        open_loop(200, period, every=(period, f"s {period / 10}")),
        [Row("(d) p99 of the other requests against SO_REUSEPORT", "all.p99", sync_64, reuseport, most=0.2)],
    )
    yield Comparison(
        "burst",
        "bursts of 1,000 connections after silence, 8 workers",
        [sync(1, 8), sync(64, 8), alternative("blocking", 8)],
        burst(1000, 3 if pace >= 1 else 1),
        [
            Row(
                "(e) capacity 1: time until the last is served, against blocking accept",
                "last",
                sync_1,
                blocking,
                most=1.2,
            ),
            Row("(e) capacity 64: the same", "last", sync_64, blocking, most=1.2),
        ],
    )
    touching = [sync(1, 8, name="sync, lowest"), alternative("round-robin", 8), alternative("blocking", 8)]
    yield Comparison(
        "hot",
        "8 workers, 1 client, a handler that touches 20 MB",
        touching,
        closed(1, slice_, [(1.0, "all", "t")]),
        [
            *(Row(f"(g) {one.name}: processes that served", "touched", one.name, how="value") for one in touching),
            *(
                Row(f"(g) {one.name}: memory of the workers", "memory", one.name, how="value", scale=2**-20, unit="MiB")
                for one in touching
            ),
            Row("(g) lowest against round robin: throughput", "throughput", "sync, lowest", "sync, round robin"),
            Row("(g) lowest against blocking accept: throughput", "throughput", "sync, lowest", blocking),
        ],
        extra=_memory,
    )
    many = sync(1, 1024, name="1,024 workers")
    yield Comparison(
        "many",
        "capacity 1, 1,024 real workers against 8, 1 client",
        [many, sync(1, 8, name="8 workers")],
        closed(1, slice_),
        [Row("latency at 1,024 workers against 8, p50", "all.p50", many.name, "8 workers", most=1.5)],
    )

    yield from services(pace)


def services(pace: float) -> Iterator[Comparison]:
    """HTTP, a request to a connection: the examples' servers beside those that people use, on one application."""
    ours = ("WSGI example", "ASGI example")
    for kind, mine in zip(("wsgi", "asgi"), ours, strict=True):
        others = [name for name in SERVICES if name not in ours and ("gunicorn" in name) == (kind == "wsgi")]
        servers = [service(name, 4) for name in (mine, *others)]
        yield Comparison(
            kind,
            f"HTTP, {kind.upper()}: 4 workers, 16 clients, a page that costs nothing",
            servers,
            closed(16, pace, [(1.0, "all", "/")], http=True),
            [Row(f"HTTP: {mine}: throughput against {name}", "throughput", mine, name, least=1.5) for name in others],
        )
        yield Comparison(
            f"{kind}-tail",
            f"HTTP, {kind.upper()}: 4 workers, 150 requests a second: 0.2 ms of CPU each, 1 % of them 20 ms",
            servers,
            open_loop(150, 3 * pace, HEAVY_PAGES, http=True),
            [
                Row(f"HTTP: {mine}: p99 of light pages against {name}", "light.p99", mine, name, most=0.5)
                for name in others
            ],
        )


def _memory(running: RunningServer) -> dict[str, float]:
    return {"memory": running.memory()}


def cross_product(pace: float = 1.0) -> Iterator[Comparison]:
    """Every server at every size: nothing here has a goal."""
    for workers, clients in product((8, 32, 128), (1, 8, 32, 64, 256)):
        everyone = [
            sync(1, workers),
            sync(64, workers),
            sync(64, workers, "--policy", "lowest", name="sync, capacity 64, lowest"),
            trio(1, workers),
            trio(64, workers),
            *(alternative(kind, workers) for kind in ("blocking", "herd", "exclusive", "reuseport")),
        ]
        yield Comparison(
            f"full-{workers}-{clients}",
            f"{workers} workers, {clients} clients, null handler",
            everyone,
            closed(clients, pace),
            [Row(f"{one.name} against blocking accept", "throughput", one.name, "blocking accept") for one in everyone],
        )
