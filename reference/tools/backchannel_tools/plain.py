"""A pool as plain text: no terminal, no library, once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from backchannel.printing import printable

from .status import Rates, Sample, Worker

__all__ = ["age", "head", "rows", "text"]

COLUMNS = ("SLOT", "PID", "STATE", "OPEN", "CAP", "ACCEPTED", "PER S", "EXPIRED", "GEN", "AGE")


def text(sample: Sample, rates: Rates | None = None) -> str:
    """The whole view."""
    table = [COLUMNS, *rows(sample.workers, rates)]
    widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    return "\n".join([*head(sample, rates), "", *lines]) + "\n"


def head(sample: Sample, rates: Rates | None) -> Iterator[str]:
    """The lines above the table."""
    yield f"pool {sample.pid} {sample.state}{generation(sample)} on {printable(' '.join(sample.addresses))}"
    yield f"board {sample.board or '(no workers)'}"
    yield f"open {sample.open} of {sample.capacity}, {spare(sample)}"

    def counted(name: str) -> int | str:
        return sample.counters.get(name, "-")  # what a pool does not count is not 0

    yield (
        f"accepted {sample.served}{per_second(rates.served if rates else None)}, "
        f"expired {counted('expired')}{per_second(rates.expired if rates else None)}, "
        f"short {counted('short')}, spawned {counted('spawned')}, died {counted('deaths')}, "
        f"killed {counted('kills')}, wake-ups of the parent {counted('wakeups')}"
    )


def generation(sample: Sample) -> str:
    """The generation that serves, and what has become of the reload to the next one."""
    newest = sample.generation
    if newest is None:
        return ""
    if sample.document.get("reloading"):
        return f", generation {min(sample.serving, default=newest - 1)}, reloading"
    if sample.fell_through:
        return f", generation {max(sample.serving)} (the reload to generation {newest} failed)"
    return f", generation {newest}"


def spare(sample: Sample) -> str:
    """Spare capacity against its bounds."""
    if sample.bounds is None:
        return f"spare {sample.spare}"
    low, high = sample.bounds
    remark = " (below)" if sample.spare < low else " (above)" if sample.spare > high else ""
    return f"spare {sample.spare} between {low} and {high}{remark}"


def rows(workers: Iterable[Worker], rates: Rates | None) -> Iterator[Sequence[str]]:
    """A row of cells for each worker."""
    for worker in workers:
        rate = None if rates is None or worker.pid is None else rates.workers.get(worker.pid)
        yield (
            str(worker.slot),
            _or_dash(worker.pid),
            worker.state,
            str(worker.open),
            str(worker.capacity),
            str(worker.accepted),
            "-" if rate is None else f"{rate:.1f}",
            _or_dash(worker.expired),
            _or_dash(worker.generation),
            age(worker.age),
        )


def age(seconds: float | None) -> str:
    """``seconds`` as people write it: 42s, 3m07s, 5h12m, 9d04h."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def per_second(rate: float | None) -> str:
    return "" if rate is None else f" ({rate:.1f}/s)"


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)
