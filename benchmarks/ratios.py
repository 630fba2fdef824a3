"""What pairs of measurements say, and with how much doubt.

Two servers are measured alternately, so what disturbs one disturbs the other a moment later, and only what each pair
says of the two is used. Ratios are averaged as logarithms (a half and a double cancel), differences as they are. The
interval holds the mean with 90 % confidence, by Student's t.

The quantiles of t stand here as a table because the standard library has the normal distribution's alone. A bootstrap
would need no table, but is too sure of few rounds: its 90 % interval of seven holds the mean in four cases of five.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Estimate", "difference", "mean", "plain", "ratio"]

# 95th percentile of Student's t for 1, 2, 3 ... degrees of freedom: with both tails, 90 %
_T = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753)
_T_MORE = 1.753


@dataclass(frozen=True)
class Estimate:
    """A figure and the interval that holds it with 90 % confidence."""

    value: float
    low: float
    high: float

    def meets(self, least: float | None, most: float | None) -> bool:
        """Whether a goal is met: unless the whole interval is on the wrong side of it."""
        return not (least is not None and self.high < least) and not (most is not None and self.low > most)


def mean(values: Sequence[float]) -> Estimate:
    """The mean of ``values``. One value has no interval: it stands for itself."""
    count = len(values)
    middle = math.fsum(values) / count
    if count == 1:
        return Estimate(middle, middle, middle)
    variance = math.fsum((value - middle) ** 2 for value in values) / (count - 1)
    t = _T[count - 2] if count - 2 < len(_T) else _T_MORE
    half = t * math.sqrt(variance / count)
    return Estimate(middle, middle - half, middle + half)


def ratio(subject: Sequence[float], reference: Sequence[float]) -> Estimate:
    """The geometric mean of the pairs' ratios."""
    logs = mean([math.log(ours / theirs) for ours, theirs in zip(subject, reference, strict=True)])
    return Estimate(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high))


def difference(subject: Sequence[float], reference: Sequence[float]) -> Estimate:
    """The mean of the pairs' differences."""
    return mean([ours - theirs for ours, theirs in zip(subject, reference, strict=True)])


def plain(value: float) -> str:
    """Three digits, or all of a large figure, as people write it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
