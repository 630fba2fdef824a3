"""Fixtures of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import Gate, Program, programs


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    with programs() as begin:
        yield begin


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path)
    yield made
    made.close()
