"""Charts as SVG, for the documentation: bars with their intervals, and lines over time.

Written by hand because two kinds of chart need no library. Colours are readable on a light and on a dark page.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from ratios import Estimate, plain

__all__ = ["bars", "lines"]

WIDTH = 720
INK = "#8a8f98"
COLOURS = ("#3f8fd2", "#e08a2e", "#4caf6d", "#c65b7c", "#8d6fc9")


def _page(height: float, parts: Sequence[str]) -> str:
    style = f"font: 13px system-ui, sans-serif; fill: {INK}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" style="{style}" role="img">'
    return "\n".join([head, *parts, "</svg>\n"])


def _text(x: float, y: float, text: str, anchor: str = "start", weight: int = 400) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{html.escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = INK, width: float = 1, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width:g}"{dashes}/>'
    )


def bars(title: str, what: str, unit: str, entries: Sequence[tuple[str, Estimate]], mark: float | None = None) -> str:
    """One bar for each entry, from 0, with its interval; ``mark`` draws a dashed line: the goal, or what is equal.
    ``what`` is measured.
    """
    left, step, top = 305, 30, 62
    most = max([estimate.high for _, estimate in entries] + ([mark] if mark is not None else []))
    scale = (WIDTH - left - 110) / (most or 1.0)
    parts = [_text(0, 18, title, weight=600), _text(0, 38, what)]
    for index, (name, estimate) in enumerate(entries):
        y = top + index * step
        length = max(1.0, estimate.value * scale)
        colour = COLOURS[index % len(COLOURS)]
        parts += [
            _text(left - 10, y + 14, name, "end"),
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="18" rx="2" fill="{colour}"/>',
            _line(left + max(0.0, estimate.low) * scale, y + 9, left + estimate.high * scale, y + 9, INK, 2),
            _text(left + estimate.high * scale + 8, y + 14, f"{plain(estimate.value)} {unit}".rstrip()),
        ]
    height = top + len(entries) * step
    if mark is not None:
        parts.append(_line(left + mark * scale, top - 8, left + mark * scale, height - 4, INK, 1, "4 3"))
    return _page(height + 6, parts)


def lines(
    title: str, x_name: str, y_name: str, series: Sequence[tuple[str, Sequence[tuple[float, float]]]], log: bool = False
) -> str:
    """Several series of (x, y); ``log``: both axes logarithmic."""
    left, top, width, height = 60, 44, WIDTH - 230, 240
    place = (lambda value: math.log10(max(value, 1e-9))) if log else float
    xs = [place(x) for _, points in series for x, _ in points]
    ys = [place(y) for _, points in series for _, y in points]
    x0, x1 = min(xs), max(xs)
    y0, y1 = (min(ys) if log else 0.0), max(ys)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (place(x) - x0) / ((x1 - x0) or 1.0)
        up = (place(y) - y0) / ((y1 - y0) or 1.0)
        return left + across * width, top + height - up * height

    parts = [
        _text(0, 18, title, weight=600),
        _line(left, top, left, top + height),
        _line(left, top + height, left + width, top + height),
        _text(left + width / 2, top + height + 34, x_name, "middle"),
        _text(left - 6, top - 8, y_name, "middle"),
    ]
    ends = [(10**x0, 10**y0), (10**x1, 10**y1)] if log else [(x0, y0), (x1, y1)]
    for x, y in ends:
        parts += [
            _text(at(x, y)[0], top + height + 17, plain(x), "middle"),
            _text(left - 6, at(x, y)[1] + 5, plain(y), "end"),
        ]
    for index, (name, points) in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in points)
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<rect x="{left + width + 14}" y="{top + index * 22}" width="12" height="12" rx="2" fill="{colour}"/>',
            _text(left + width + 32, top + index * 22 + 11, name),
        ]
    return _page(top + height + 44, parts)
