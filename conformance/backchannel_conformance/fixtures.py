"""The fixtures by which cases get what they test, one for each role: ``codec``, ``workers``, ``parents``, ``pools``.

The last three start as many as a case asks for, with the options that it gives; where the manifest does not offer such
an option, the case is skipped. When the case is over, everything is ended, and the suite itself must have as many
descriptors open as before.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .codec_under_test import CodecUnderTest
from .errors import NOT_APPLICABLE
from .manifest import DEFAULTS, Manifest
from .parent_under_test import ParentUnderTest
from .pool_under_test import PoolUnderTest
from .port_output import short_logs
from .worker_under_test import WorkerUnderTest

__all__ = ["Fixtures", "Parents", "Pools", "Workers"]


def _skip_unless_offered(
    manifest: Manifest, role: str, values: Mapping[str, str], implied: Collection[str] = ()
) -> None:
    """Skip the case if it sets an option that the manifest does not offer. Those in ``implied`` need not be offered."""
    offered = manifest.roles[role].placeholders
    for name, value in values.items():
        if name not in offered and name not in implied and value != DEFAULTS[name]:
            pytest.skip(f"{NOT_APPLICABLE}the manifest of {manifest.name} does not offer {{{name}}}")


def _values(options: Mapping[str, object]) -> dict[str, str]:
    """Options as placeholders. Python has taken the name of one, so a case writes ``pass_``."""
    return {name.removesuffix("_"): str(value) for name, value in options.items()}


class Workers:
    """Starts workers under test; the listeners are the suite's."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self._manifest = manifest
        self._folder = folder
        self._started: list[WorkerUnderTest] = []
        self._listeners: list[socket.socket] = []

    def __call__(self, *, listeners: int = 1, useless: bool = False, **options: Any) -> WorkerUnderTest:
        """A worker that has not been greeted. ``useless``: the last of its listeners does not listen."""
        mine = [self.listener() for _ in range(listeners)]
        if useless:
            mine.append(socket.socket())
            mine[-1].setblocking(False)
            self._listeners.append(mine[-1])
        _skip_unless_offered(self._manifest, "worker", {"quota": str(options.get("quota", 0))})
        worker = WorkerUnderTest(self._manifest, self._folder / f"log-{len(self._started)}", mine, **options)
        self._started.append(worker)
        return worker

    def greeted(self, **options: Any) -> WorkerUnderTest:
        """A worker that has answered the welcome."""
        worker = self(**options)
        worker.greet()
        return worker

    def listener(self) -> socket.socket:
        """A listener on a port of its own."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        listener.setblocking(False)
        self._listeners.append(listener)
        return listener

    def close(self) -> None:
        """Close everything."""
        for worker in self._started:
            worker.close()
        for listener in self._listeners:
            listener.close()
        self._started.clear()


class Parents:
    """Starts parents under test; their workers are the suite's stubs."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self._manifest = manifest
        self._folder = folder
        self._started: list[ParentUnderTest] = []

    def __call__(self, **options: Any) -> ParentUnderTest:
        """A parent whose workers have not been greeted."""
        values = _values(options)
        # a pool of fixed size is told its size, and does not scale
        is_fixed = values.get("start") == values.get("min") == values.get("max")
        _skip_unless_offered(self._manifest, "parent", values, ("start", "min", "pass") if is_fixed else ())
        parent = ParentUnderTest(self._manifest, values, self._folder / f"parent-{len(self._started)}")
        self._started.append(parent)
        return parent

    def pool(self, workers: int, capacity: int | Sequence[int] = 1, **options: Any) -> ParentUnderTest:
        """A parent of fixed size with ``workers`` greeted workers, and one more that is held back as a witness.

        ``capacity`` may be one for each; the parent is then told the largest.
        """
        total = workers + 1
        told = capacity if isinstance(capacity, int) else max(capacity)
        parent = self(**{"start": total, "min": total, "max": total, "capacity": told, "pass": 0.02, **options})
        parent.gather(workers, capacity)
        return parent

    def close(self) -> None:
        """Close everything."""
        for parent in self._started:
            parent.close()
        self._started.clear()


class Pools:
    """Starts pools under test."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self.manifest = manifest
        self._folder = folder
        self._started: list[PoolUnderTest] = []

    def __call__(
        self, workers: int | None = None, *, passed: Sequence[socket.socket] = (), **options: object
    ) -> PoolUnderTest:
        """A pool, ready; ``workers`` fixes its size, ``passed`` are listeners that it inherits."""
        if workers is not None:
            options = {"start": workers, "min": workers, "max": workers, **options}
        values = _values(options)
        _skip_unless_offered(self.manifest, "pool", values, ("start", "min") if workers is not None else ())
        pool = PoolUnderTest(self.manifest, values, self._folder / f"log-{len(self._started)}", passed)
        self._started.append(pool)
        return pool

    def factory(self, workers: int, **options: object) -> Callable[[], PoolUnderTest]:
        """Something that starts such a pool."""
        return lambda: self(workers, passed=(), **options)

    def close(self) -> None:
        """Close everything. Raises ``RuntimeError`` for processes that had outlived their pool."""
        left = [pid for pool in self._started for pid in pool.close()]
        self._started.clear()
        if left:
            raise RuntimeError(f"processes {left} outlived their pool")


@contextmanager
def _nothing_leaks() -> Iterator[None]:
    before = len(os.listdir("/dev/fd"))
    yield
    after = len(os.listdir("/dev/fd"))
    if after > before:  # fewer: what an earlier case that failed had left was collected meanwhile
        raise RuntimeError(f"the case leaked descriptors: {before} before, {after} after")


class Fixtures:
    """The plugin object."""

    @pytest.fixture
    def codec(self, manifest: Manifest, tmp_path: Path) -> Iterator[CodecUnderTest]:
        """The codec of the target."""
        with _nothing_leaks(), short_logs(tmp_path):
            made = CodecUnderTest(manifest, tmp_path / "log")
            yield made
            made.close()
            del made

    @pytest.fixture
    def workers(self, manifest: Manifest, tmp_path: Path) -> Iterator[Workers]:
        """Workers of the target."""
        with _nothing_leaks(), short_logs(tmp_path):
            made = Workers(manifest, tmp_path)
            yield made
            made.close()

    @pytest.fixture
    def parents(self, manifest: Manifest, tmp_path: Path) -> Iterator[Parents]:
        """Parents of the target."""
        with _nothing_leaks(), short_logs(tmp_path):
            made = Parents(manifest, tmp_path)
            yield made
            made.close()

    @pytest.fixture
    def pools(self, manifest: Manifest, tmp_path: Path) -> Iterator[Pools]:
        """Pools of the target."""
        with _nothing_leaks(), short_logs(tmp_path):
            made = Pools(manifest, tmp_path)
            yield made
            made.close()
