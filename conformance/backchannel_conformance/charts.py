"""The two charts of the report, as SVG. Colours come from the page's style, so that they fit light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["CONNECTIONS", "WORKERS", "herd", "key", "load"]

Points = Sequence[Sequence[float]]

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 48, 28, 14, 44
COLOURS = 8
WORKERS, CONNECTIONS = 0, 3
"""Which of the lines' looks the second chart uses."""
DASHES = ("", "7 4", "2 4", "10 3 2 3")


def key(at: int) -> str:
    """What a line looks like, for its row in a table."""
    look = f'style="stroke:var(--c{at % COLOURS})" stroke-dasharray="{_dash(at)}"'
    line = f'<line class="curve" {look} x2="28" y1="4" y2="4"/>'
    return f'<svg class="key" viewBox="0 0 28 8" aria-hidden="true">{line}</svg>'


def _dash(at: int) -> str:
    return DASHES[at // 2 % len(DASHES)]


def _ticks(lowest: float, highest: float) -> list[float]:
    return [2.0**power for power in range(math.floor(math.log2(lowest)), math.ceil(math.log2(highest)) + 1)]


def herd(lines: Sequence[tuple[str, Points]]) -> str:
    """Wake-ups for a connection against workers, both as powers of two."""
    xs = _ticks(min(p[0] for _, points in lines for p in points), max(p[0] for _, points in lines for p in points))
    ys = _ticks(
        max(0.25, min(1.0, *(p[1] for _, points in lines for p in points))),
        max(xs[-1], *(p[1] for _, points in lines for p in points)),
    )

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log2(value / xs[0]) / max(1.0, math.log2(xs[-1] / xs[0]))

    def y(value: float) -> float:
        share = math.log2(max(value, ys[0]) / ys[0]) / max(1.0, math.log2(ys[-1] / ys[0]))
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    herd = f'x1="{x(xs[0]):.1f}" y1="{y(xs[0]):.1f}" x2="{x(xs[-1]):.1f}" y2="{y(xs[-1]):.1f}"'
    marks = [f'<line class="grid" stroke-dasharray="1 3" style="stroke:var(--dim)" {herd}/>']
    for at, (_, points) in enumerate(lines):
        look = f'style="stroke:var(--c{at % COLOURS})" stroke-dasharray="{_dash(at)}"'
        path = " ".join(f"{x(p[0]):.1f},{y(p[1]):.1f}" for p in points)
        marks.append(f'<polyline class="curve" {look} points="{path}"/>')
        marks += [
            f'<circle cx="{x(p[0]):.1f}" cy="{y(p[1]):.1f}" r="3.5" style="fill:var(--c{at % COLOURS})"/>'
            for p in points
        ]
    scale = "".join(
        f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:g}</text>' for tick in xs
    ) + "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in ys
    )
    names = ", ".join(name for name, _ in lines)
    return _svg(f"Wake-ups for each connection against workers: {names}", scale + "".join(marks), "workers")


def load(points: Points) -> str:
    """Workers and connections over time: (seconds, workers, connections)."""
    end = max(p[0] for p in points) or 1.0
    every = max(1, math.ceil(max(max(p[1], p[2]) for p in points) / 6))
    most = every * math.ceil(max(max(p[1], p[2]) for p in points) / every) or 1

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / end

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / most

    def steps(column: int) -> str:
        parts = [f"M{x(points[0][0]):.1f},{y(points[0][column]):.1f}"]
        parts += [f"H{x(p[0]):.1f}V{y(p[column]):.1f}" for p in points[1:]]
        return "".join(parts)

    scale = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick}</text>'
        for tick in range(0, most + 1, every)
    ) + "".join(
        f'<text x="{x(end * part / 4):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{end * part / 4:.2f}</text>'
        for part in range(5)
    )
    held = f'style="stroke:var(--c{CONNECTIONS})" stroke-dasharray="{_dash(CONNECTIONS)}"'
    base = f"V{y(0):.1f}H{x(points[0][0]):.1f}Z"
    marks = (
        f'<path class="area" style="fill:var(--c{CONNECTIONS})" d="{steps(2)}{base}"/>'
        f'<path class="curve" {held} d="{steps(2)}"/>'
        f'<path class="curve" style="stroke:var(--c{WORKERS})" d="{steps(1)}"/>'
    )
    return _svg("Workers and connections over time", scale + marks, "seconds")


def _svg(title: str, inside: str, below: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{inside}'
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">{below}</text></svg>'
    )
