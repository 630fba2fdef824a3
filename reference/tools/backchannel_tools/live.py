"""A pool in a terminal, once a second, drawn by rich (the extra ``top``)."""

from __future__ import annotations

import time
from pathlib import Path

from backchannel.printing import printable
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from . import plain
from .status import Rates, Sample, StatusError, read

__all__ = ["show", "view"]

COLOURS = {
    "READY": "green",
    "STARTING": "cyan",
    "SUSPECT": "bold red",
    "DRAINING": "yellow",
    "LOST": "red",
    "KILLED": "red",
}


def show(path: Path, interval: float, console: Console | None = None) -> None:
    """Show the pool until Ctrl-C. A pool that goes, or is started anew, is waited for."""
    console = console or Console()
    before = read(path)
    # nothing is drawn but by update(): no thread of rich's own
    with Live(view(before, None), console=console, screen=console.is_terminal, auto_refresh=False) as live:
        live.refresh()
        while True:
            time.sleep(interval)
            try:
                sample = read(path)
            except StatusError as error:
                live.update(Text(f"{printable(str(error))}\nwaiting for it ...", style="red"), refresh=True)
                continue
            live.update(view(sample, Rates.between(before, sample)), refresh=True)
            before = sample


def view(sample: Sample, rates: Rates | None) -> Group:
    """One picture."""
    title, board, *rest = plain.head(sample, rates)
    low = sample.bounds is not None and sample.spare < sample.bounds[0]
    colour = "red" if low else ""
    table = Table(expand=True, box=None, header_style="bold", padding=(0, 1))
    for column in plain.COLUMNS:
        table.add_column(column, justify="left" if column == "STATE" else "right", no_wrap=True)
    table.add_column("LOAD", ratio=1, min_width=10)
    for worker, cells in zip(sample.workers, plain.rows(sample.workers, rates), strict=True):
        bar = ProgressBar(total=max(1, worker.capacity), completed=worker.open)
        table.add_row(
            *(Text(cell, COLOURS.get(worker.state, "") if cell == worker.state else "") for cell in cells), bar
        )
    return Group(Text(title, "bold"), Text(board), *(Text(line, colour) for line in rest), "", table)
