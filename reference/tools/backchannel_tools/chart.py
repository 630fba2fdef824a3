"""A capture as a sequence chart: the parent on the left, a lifeline for each worker, time going down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from .capture import EXITED, NOTE, PARENT, SPAWNED, Event, summary

__all__ = ["draw"]

LEFT: Final = 12
"""Where the parent's line is; the time stands before it."""
GAP: Final = 26
"""From there to the first worker: what a frame says stands here."""
LANE: Final = 9
"""From one worker to the next."""

ASCII: Final = str.maketrans({"│": "|", "─": "-", "┼": "+", "▶": ">", "◀": "<", "●": "*"})


def draw(events: Sequence[Event], *, ascii_only: bool = False) -> Iterator[str]:
    """The lines of the chart."""
    names = sorted({event.worker for event in events if event.worker or event.side != NOTE}, key=_by_number)
    at = {name: LEFT + GAP + LANE * place for place, name in enumerate(names)}
    alive = _alive_from_the_start(events, names)
    head = [" "] * (LEFT + GAP + LANE * len(names))
    _put(head, LEFT - 3, "parent")
    for name, column in at.items():
        _put(head, column - len(_title(name)) // 2, _title(name))
    yield "".join(head).rstrip()
    for event in events:
        if event.text == SPAWNED and event.worker in at:  # a note of no worker may say the same
            alive.add(event.worker)
        line = _row(event, at, alive)
        yield line.translate(ASCII) if ascii_only else line
        if event.text.startswith(EXITED):
            alive.discard(event.worker)


def _row(event: Event, at: dict[str, int], alive: set[str]) -> str:
    row = [" "] * (max(at.values(), default=LEFT) + 3)
    if event.when is not None:
        _put(row, 0, f"{event.when:9.4f}")
    row[LEFT] = "│"
    for name in alive:
        row[at[name]] = "│"
    if event.side == NOTE:
        if event.worker in at:
            row[at[event.worker]] = "●"
        who = f"{_title(event.worker)} " if event.worker else ""
        return "".join(row) + who + event.text
    target = at[event.worker]
    for column in range(LEFT + 1, target):
        row[column] = "┼" if row[column] == "│" else "─"
    label = f" {summary(event.data)} "[: GAP - 3]
    _put(row, LEFT + 2, label)
    if event.side == PARENT:
        row[target - 1] = "▶"
    else:
        row[LEFT + 1] = "◀"
    return "".join(row).rstrip()


def _put(row: list[str], start: int, text: str) -> None:
    row[start : start + len(text)] = text


def _title(name: str) -> str:
    return f"slot {name}" if name.isdecimal() else f"worker {name}".rstrip()


def _alive_from_the_start(events: Sequence[Event], names: Sequence[str]) -> set[str]:
    """Workers whose first event is not that they are spawned."""
    first: dict[str, Event] = {}
    for event in events:
        first.setdefault(event.worker, event)
    return {name for name in names if first[name].text != SPAWNED}


def _by_number(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else -1, name)
