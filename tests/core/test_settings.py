"""Settings that cannot work are refused in words that name the setting, what was given and what may be."""

from __future__ import annotations

from typing import Any

import pytest
from backchannel import Scaling, SettingError, Settings


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (Settings, {"order_deadline": "100ms"}, "order_deadline is '100ms': it must be a number"),
        (Settings, {"order_deadline": 0}, "order_deadline is 0: it must be at least 0.001 (seconds)"),
        (Settings, {"stop_deadline": float("inf")}, "stop_deadline is inf: it must be at least 0.001 (seconds)"),
        (Settings, {"capacity": 2.5}, "capacity is 2.5: it must be a whole number"),
        (Settings, {"capacity": "4"}, "capacity is '4': it must be a whole number"),
        (Settings, {"max_per_order": 0}, "max_per_order is 0: it must be at least 1"),
        (Settings, {"policy": "fastest"}, "policy is 'fastest': choose one of lowest, least-loaded"),
        (Scaling, {"max": None}, "max is None: it must be a whole number"),
        (Scaling, {"period": 0}, "period is 0: it must be at least 0.001 (seconds)"),
        (Scaling, {"start": 9}, "start is 9: it must be between min (1) and max (8)"),
    ],
)
def test_what_cannot_work_is_refused(kind: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError) as caught:
        kind(**given)
    assert said in str(caught.value)


def test_a_time_may_be_a_whole_number() -> None:
    assert Settings(order_deadline=1).order_deadline == 1
