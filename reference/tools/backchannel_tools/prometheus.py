"""A pool in Prometheus's text format, for a scrape or for node_exporter's textfile collector."""

from __future__ import annotations

from collections.abc import Iterator

from .status import Sample

__all__ = ["text"]

COUNTERS = {
    "orders": "Connections that workers were ordered to take",
    "accepted": "Connections accepted by answers in time",
    "late": "Connections accepted by answers after the deadline",
    "expired": "Connections whose order passed its deadline",
    "short": "Connections ordered and not accepted by an answer in time",
    "dead": "Connections ordered from a worker that died",
    "wakeups": "Times that the parent woke",
    "spawned": "Workers started",
    "deaths": "Workers that died by themselves",
    "kills": "Workers that the parent killed",
    "retired": "Workers that were one too many",
}


def text(sample: Sample) -> str:
    """All of it."""
    return "".join(f"{line}\n" for line in _lines(sample))


def _lines(sample: Sample) -> Iterator[str]:
    for name, help_text in COUNTERS.items():
        if name in sample.counters:
            yield from _metric(f"backchannel_{name}_total", "counter", help_text, {"": sample.counters[name]})
    yield from _metric("backchannel_spare", "gauge", "Connections that READY workers could take", {"": sample.spare})
    if sample.bounds is not None:
        low, high = sample.bounds
        yield from _metric("backchannel_spare_min", "gauge", "Spare below which the pool grows", {"": low})
        yield from _metric("backchannel_spare_max", "gauge", "Spare above which the pool shrinks", {"": high})
    states: dict[str, float] = {}
    for worker in sample.workers:
        label = f'{{state="{_quoted(worker.state)}"}}'
        states[label] = states.get(label, 0) + 1
    yield from _metric("backchannel_workers", "gauge", "Workers", states)
    each = {f'{{slot="{worker.slot}"}}': worker for worker in sample.workers}
    for name, kind, help_text in (
        ("open", "gauge", "Connections that a worker holds"),
        ("capacity", "gauge", "Connections that a worker could hold"),
        ("accepted", "counter", "Connections that a worker accepted"),
    ):
        suffix = "_total" if kind == "counter" else ""
        values = {label: getattr(worker, name) for label, worker in each.items()}
        yield from _metric(f"backchannel_worker_{name}{suffix}", kind, help_text, values)


def _quoted(value: str) -> str:
    """A label's value, as the format wants it. A sample's texts have no line breaks any more."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _metric(name: str, kind: str, help_text: str, values: dict[str, float]) -> Iterator[str]:
    if values:
        yield f"# HELP {name} {help_text}."
        yield f"# TYPE {name} {kind}"
        for label, value in values.items():
            yield f"{name}{label} {value}"
