"""Drawings made from data: ``.. state-chart:: slot`` from ``protocol.toml``, ``.. message-chart:: HEADING`` from the
examples.

Both are one kind of drawing: a column for each state (or side), and a row for each transition (or message), an arrow
from column to column with its event above. Nothing has to be placed by hand, nothing overlaps, and it is read from
top to bottom. The SVG stands in the page itself and takes its colours from the page's style sheet, light or dark;
nothing is fetched.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SPEC = Path(__file__).parents[2] / "spec" / "1.0"
NO_EFFECT = "no effect"
ROW, TOP, SIDE = 34, 44, 60
MESSAGE = re.compile(r"^   ([PW])([AB]?) +(?:[0-9a-f]{8} ){5} (.*)$|^   - +(.*)$")


@dataclass(frozen=True)
class Arrow:
    """One row: from a column to a column, or a remark over all of them."""

    label: str
    start: int | None = None
    end: int | None = None


def draw(columns: list[str], arrows: list[Arrow], title: str, gap: int) -> str:
    """The drawing as SVG."""
    remarks = max((len(arrow.label) for arrow in arrows if arrow.start is None), default=0)
    width = max(2 * SIDE + gap * (len(columns) - 1) + 60, 32 + round(7.4 * remarks))
    height = TOP + ROW * (len(arrows) + 1)
    at = [SIDE + gap * index for index in range(len(columns))]
    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    for x, name in zip(at, columns, strict=True):
        parts.append(f'<line class="lane" x1="{x}" y1="{TOP - 14}" x2="{x}" y2="{height - 8}"/>')
        half = 4.2 * len(name) + 8
        parts.append(f'<rect x="{x - half:.0f}" y="6" width="{2 * half:.0f}" height="24" rx="4"/>')
        parts.append(f'<text class="name" x="{x}" y="22">{escape(name)}</text>')
    for row, arrow in enumerate(arrows):
        y = TOP + ROW * (row + 1) - 8
        label = escape(arrow.label)
        if arrow.start is None or arrow.end is None:
            parts.append(f'<text class="remark" x="{at[0] - 44}" y="{y}">{label}</text>')
        elif arrow.start == arrow.end:
            x = at[arrow.start]
            parts.append(f'<path class="arrow" d="M{x} {y - 8}h22v12h-16"/>{_tip(x + 6, y + 4, -1)}')
            parts.append(f'<text class="beside" x="{x + 28}" y="{y + 3}">{label}</text>')
        else:
            x1, x2 = at[arrow.start], at[arrow.end]
            turn = 1 if x2 > x1 else -1
            parts.append(f'<circle cx="{x1}" cy="{y}" r="3"/>')
            parts.append(f'<path class="arrow" d="M{x1} {y}H{x2 - 7 * turn}"/>{_tip(x2, y, turn)}')
            parts.append(f'<text class="over" x="{(x1 + x2) / 2:.0f}" y="{y - 6}">{label}</text>')
    return "\n".join([*parts, "</svg>"])


def _tip(x: int, y: int, turn: int) -> str:
    return f'<path class="tip" d="M{x} {y}l{-9 * turn} -4v8z"/>'


def machine(name: str) -> str:
    """A state machine; events that lead from one state to another share an arrow, those without effect have none."""
    table = tomllib.loads((SPEC / "protocol.toml").read_text())[name]
    afters = [after for events in table.values() for after in events.values() if after != NO_EFFECT]
    states = list(dict.fromkeys([*table, *afters]))
    merged: dict[tuple[str, str], list[str]] = {}
    for state, events in table.items():
        for event, after in events.items():
            if after == NO_EFFECT:
                continue
            merged.setdefault((state, after), []).append(event)
    arrows = [
        Arrow(", ".join(events), states.index(state), states.index(after)) for (state, after), events in merged.items()
    ]
    return draw(states, arrows, f"the state machine: {name}", 132)


def messages(heading: str) -> str:
    """One of the examples as a chart."""
    source = (SPEC / "examples.rst").read_text()
    begin = source.index(f"{heading}\n---")
    following = source.find("\n---", begin + len(heading) + 6)
    found = [match for line in source[begin:following].splitlines() if (match := MESSAGE.match(line))]
    workers = sorted({match[2] for match in found if match[1]})
    columns = ["parent", *(f"worker {letter}".strip() for letter in workers)]
    arrows = []
    for side, letter, message, remark in (match.groups() for match in found):
        if remark:
            arrows.append(Arrow(remark))
        else:
            worker = 1 + workers.index(letter)
            arrows.append(Arrow(message, *((0, worker) if side == "P" else (worker, 0))))
    return draw(columns, arrows, heading, 470 if len(workers) == 1 else 330)


class Chart(SphinxDirective):
    """Puts a drawing into the page; other builders get nothing, the table beside it says the same."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        for name in ("protocol.toml", "examples.rst"):
            self.env.note_dependency(str(SPEC / name))
        svg = (machine if self.name == "state-chart" else messages)(self.arguments[0])
        return [nodes.raw("", f'<figure class="chart">{svg}</figure>', format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("state-chart", Chart)
    app.add_directive("message-chart", Chart)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
