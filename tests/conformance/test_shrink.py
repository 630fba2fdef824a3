"""Shrinking a list of steps that fails."""

from __future__ import annotations

from collections.abc import Sequence

from backchannel_conformance.histories.shrink import TAIL, shrink


def test_it_leaves_what_is_needed() -> None:
    """Of forty steps three are to blame."""
    guilty = {3, 17, 38}
    played = 0

    def play(steps: Sequence[int]) -> tuple[Sequence[int], str] | None:
        nonlocal played
        played += 1
        return (steps, f"{len(steps)} steps") if guilty <= {*steps} else None

    assert shrink(range(40), play) == ([3, 17, 38], "3 steps")
    assert played < 150


def test_steps_become_simpler() -> None:
    def play(steps: Sequence[int]) -> tuple[Sequence[int], None] | None:
        return (steps, None) if any(step >= 7 for step in steps) and 3 in steps else None

    assert shrink(range(20), play, lambda step: [step - 1] if step > 7 else []) == ([3, 7], None)


def test_the_end_is_tried_first() -> None:
    asked: list[Sequence[int]] = []

    def play(steps: Sequence[int]) -> tuple[Sequence[int], None] | None:
        asked.append(steps)
        return (steps, None) if 99 in steps else None

    assert shrink(range(100), play) == ([99], None)
    assert all(len(steps) <= TAIL for steps in asked)


def test_what_was_played_until_it_failed_is_all_that_matters() -> None:
    def play(steps: Sequence[int]) -> tuple[Sequence[int], None] | None:
        return (steps[: steps.index(2) + 1], None) if 2 in steps else None

    assert shrink(range(5), play) == ([2], None)


def test_what_does_not_fail_again_is_said_to() -> None:
    assert shrink(range(20), lambda steps: None) is None
    assert shrink([], lambda steps: None) is None
