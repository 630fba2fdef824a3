"""Which requirement is to blame for a deviation, and how to say it: the first difference between what was expected and
what came.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...model import Action, Model

__all__ = ["blame"]

_UNASKED = {"Spawn": "BC-SCALE-03", "HalfClose": "BC-SCALE-07", "Kill": "BC-KILL-01"}
"""What nothing has led to, and the rule that says when it is done."""


def blame(model: Model, expected: Sequence[Action], came: Sequence[Action]) -> tuple[str, str, bool]:
    """The requirement that does not hold, what is wrong, and whether something was only not done. ``model`` has made
    the last pass, and expects ``expected``.
    """
    missing = [
        action for action in expected if action not in came and action.do in ("Send", "Spawn", "HalfClose", "Kill")
    ]
    surplus = [action for action in came if action not in expected]
    for action in surplus:
        like = [other for other in missing if other.do == action.do]
        if action.do == "Send" and action.other:
            return "BC-FRAME-01", f"{action} are no ACCEPT", False
        if like:
            other = next((one for one in like if one.slot == action.slot), like[0])
            return *_instead(model, action, other), False
    for action in surplus:
        return *_unasked(model, action), False
    for action in missing:
        found = re.search(r"BC-[A-Z]+-\d\d", action.clause)
        return (found[0] if found else "BC-RULE-01"), f"{action} was due ({action.clause}), but it was not done", True
    return "BC-RULE-01", "this cannot have come of what the parent has read", False


def _instead(model: Model, came: Action, due: Action) -> tuple[str, str]:
    what = f"there came {came}, where {due} was due"
    if came.do == "Spawn":
        return "BC-SCALE-10", what
    if came.do != "Send":
        return re.findall(r"BC-[A-Z]+-\d\d", due.clause)[-1], what
    if not due.max or not came.max:
        return "BC-HELLO-04", what
    if came.slot != due.slot:
        lowest = model.pool.settings["policy"] == "lowest"
        return "BC-PICK-01" if lowest else "BC-PICK-02", what
    if came.listener != due.listener:
        return "BC-PICK-04", what
    return ("BC-PICK-03" if came.max != due.max else "BC-ACCEPT-01"), what


def _unasked(model: Model, came: Action) -> tuple[str, str]:
    what = f"there came {came}, which nothing has led to"
    worker = model.pool.workers.get(came.slot if came.slot is not None else -1)
    if came.do != "Send" or worker is None or came.listener >= len(model.pool.backlogs):
        return _UNASKED.get(came.do, "BC-RULE-01"), what
    backlog = model.pool.backlogs[came.listener]
    if worker.cool_until > model.pool.now or backlog.cool_until > model.pool.now:
        return "BC-SHORT-03", f"{what}, during a cool-down"
    if worker.state != "READY" or (worker.order and worker.order.number != came.order):
        return "BC-ORDER-02", f"{what}: that worker is {worker.state}{', and owes an answer' if worker.order else ''}"
    if came.listener in worker.passed_over:
        return "BC-SHORT-01", f"{what}: that worker is passed over"
    if backlog.owed:
        return "BC-SILENT-03", f"{what}: {backlog.owed} are owed"
    return "BC-PEND-01", f"{what}: {backlog.in_flight} are in flight"
