"""The plot of a soak: memory, workers and latency over time, one above the other, as SVG.

Where there was nothing to measure (no worker that had served, nobody answered) a curve has a gap.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import groupby

__all__ = ["page"]

WIDTH, LEFT, RIGHT, HEIGHT, GAP = 760, 56, 150, 130, 54
GAPS = {"worker_mb", "median_ms", "p99_ms"}
"""What is nothing, and not 0, where it is 0."""
INK, GRID = "#808080", "#80808040"
PANELS = (
    ("memory, MB", (("parent_mb", "the parent", "#3f8fd2"), ("worker_mb", "a worker, mean", "#e08a2e"))),
    ("workers ready", (("workers", "workers", "#4caf6d"),)),
    ("ms to an answer", (("median_ms", "median", "#8d6fc9"), ("p99_ms", "99th percentile", "#c65b7c"))),
    ("answers a second", (("rate", "answers", "#3f8fd2"),)),
)


def page(title: str, samples: Sequence[dict[str, float]]) -> str:
    """All panels, on one time axis."""
    if not samples:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>\n'
    points = []
    before = 0.0
    for sample in samples:
        points.append({**sample, "rate": sample["answered"] / max(sample["second"] - before, 1e-3)})
        before = sample["second"]
    end = points[-1]["second"] or 1.0
    parts = [_text(0, 18, title, weight=600)]
    for at, (name, curves) in enumerate(PANELS):
        top = 48 + at * (HEIGHT + GAP)
        most = max(point[key] for point in points for key, _, _ in curves) or 1.0
        parts += [_text(0, top - 10, name), *_grid(top, most, end)]
        for row, (key, label, colour) in enumerate(curves):
            for _, run in groupby(points, key=lambda point: bool(point[key]) or key not in GAPS):
                path = " ".join(
                    f"{LEFT + (WIDTH - LEFT - RIGHT) * point['second'] / end:.1f},"
                    f"{top + HEIGHT * (1 - point[key] / most):.1f}"
                    for point in run
                    if point[key] or key not in GAPS
                )
                if path:
                    caps = 'fill="none" stroke-width="1.5" stroke-linecap="round"'
                    parts.append(f'<polyline {caps} stroke="{colour}" points="{path}"/>')
            parts.append(_text(WIDTH - RIGHT + 12, top + 14 + 20 * row, label, colour=colour))
    height = 48 + len(PANELS) * (HEIGHT + GAP)
    style = "font: 13px system-ui, sans-serif"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" style="{style}" role="img">'
    return "\n".join([head, *parts, "</svg>\n"])


def _grid(top: float, most: float, end: float) -> list[str]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = top + HEIGHT * (1 - share)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{most * share:,.0f}" if most >= 100 else f"{most * share:.3g}", "end"))
    for share in (0.0, 1 / 3, 2 / 3, 1.0):
        parts.append(_text(LEFT + (WIDTH - LEFT - RIGHT) * share, top + HEIGHT + 18, f"{end * share:.0f} s", "middle"))
    return parts


def _text(x: float, y: float, text: str, anchor: str = "start", weight: int = 400, colour: str = INK) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}">'
        f"{html.escape(text)}</text>"
    )
