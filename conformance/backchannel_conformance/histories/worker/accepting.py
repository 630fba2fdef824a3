"""What an order may give: how many connections, and why not more (BC-WORK-02, BC-BUSY-04, BC-ERRNO-01)."""

from __future__ import annotations

import errno
import tomllib
from functools import cache
from typing import Final

from ... import frames
from ...requirements import folder
from .scenario import Fault

__all__ = ["CLASSES", "reason_of", "results"]

CLASSES: Final = {
    "EMPTY": "BC-ERRNO-01",
    "PEER": "BC-ERRNO-02",
    "WORKER": "BC-ERRNO-03",
    "SYSTEM": "BC-ERRNO-04",
    "RETRY": "BC-ERRNO-05",
    "UNUSABLE": "BC-ERRNO-06",
}
"""The rule that gives an errno of ``accept`` its reason."""


@cache
def reason_of(error: str) -> str:
    """The name of the reason that an errno becomes, or ``RETRY``."""
    table: dict[str, list[str]] = tomllib.loads((folder() / "protocol.toml").read_text())["errno"]
    number = getattr(errno, error)
    return next(
        (reason for reason, names in table.items() if number in {getattr(errno, name, -1) for name in names}),
        "UNUSABLE",
    )


def results(
    most: int, pending: int, fault: Fault | None = None, descriptors: int | None = None, at_the_end: str = "EMPTY"
) -> set[tuple[int, int]]:
    """What an order for ``most`` may give where so many are pending: ``accepted`` and ``reason``.

    ``descriptors``: so many are to be had. ``at_the_end``: what an attempt says when nothing is pending. A worker may
    find that out without a call that the fault would hit.
    """
    accepted, used, call, reason = 0, 0, 0, frames.FILLED
    found: set[tuple[int, int]] = set()
    while used < most:
        call += 1
        error = fault.error if fault and fault.first <= call <= fault.last else ""
        if accepted == pending and (error or accepted == descriptors):
            found.add((accepted, frames.REASONS.index(at_the_end)))
        if not error and accepted == descriptors:
            error = "EMFILE"
        if not error and accepted < pending:
            accepted, used = accepted + 1, used + 1
            continue
        name = reason_of(error) if error else at_the_end
        if name == "RETRY":
            continue
        used, reason = used + 1, frames.REASONS.index(name)
        if name != "PEER":
            break
    return found | {(accepted, frames.FILLED if accepted == most else reason)}
