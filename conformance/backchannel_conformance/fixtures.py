"""What cases of the roles *codec*, *worker* and *parent* ask for: the thing under test, and its end afterwards."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .as_parent import Peer
from .as_workers import Under
from .codec import Codec
from .manifest import DEFAULTS, Manifest
from .text import short_logs

__all__ = ["Fixtures", "Parents", "Workers"]


class Workers:
    """Starts workers under test; the listeners are the suite's."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self._manifest = manifest
        self._folder = folder
        self._started: list[Peer] = []
        self._listeners: list[socket.socket] = []

    def __call__(self, *, listeners: int = 1, useless: bool = False, **options: Any) -> Peer:
        """A worker that has not been greeted. ``useless``: the last of its listeners does not listen."""
        mine = [self.listener() for _ in range(listeners)]
        if useless:
            mine.append(socket.socket())
            self._listeners.append(mine[-1])
        if options.get("quota") and "quota" not in self._manifest.roles["worker"].placeholders:
            pytest.skip(f"not applicable: the manifest of {self._manifest.name} does not offer {{quota}}")
        peer = Peer(self._manifest, self._folder / f"log-{len(self._started)}", mine, **options)
        self._started.append(peer)
        return peer

    def greeted(self, **options: Any) -> Peer:
        """A worker that has answered the welcome."""
        peer = self(**options)
        peer.greet()
        return peer

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
        for peer in self._started:
            peer.close()
        for listener in self._listeners:
            listener.close()
        self._started.clear()


class Parents:
    """Starts parents under test; their workers are the suite's stubs."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self._manifest = manifest
        self._folder = folder
        self._started: list[Under] = []

    def __call__(self, **options: Any) -> Under:
        """A parent whose workers have not been greeted. Skips the case if the manifest does not offer an option."""
        role = self._manifest.roles["parent"]
        values = {name.removesuffix("_"): str(value) for name, value in options.items()}
        # a pool of fixed size is told its size, and does not scale
        is_fixed = values.get("start") == values.get("min") == values.get("max")
        implied = {"start", "min", "pass"} if is_fixed else set()
        for name, value in values.items():
            if name not in role.placeholders and name not in implied and value != DEFAULTS[name]:
                pytest.skip(f"not applicable: the manifest of {self._manifest.name} does not offer {{{name}}}")
        under = Under(self._manifest, values, self._folder / f"parent-{len(self._started)}")
        self._started.append(under)
        return under

    def pool(self, workers: int, capacity: int | Sequence[int] = 1, **options: Any) -> Under:
        """A parent of fixed size with ``workers`` greeted workers, and one more that is held back as a witness.

        ``capacity`` may be one for each; the parent is then told the largest.
        """
        total = workers + 1
        told = capacity if isinstance(capacity, int) else max(capacity)
        under = self(**{"start": total, "min": total, "max": total, "capacity": told, "pass": 0.02, **options})
        under.gather(workers, capacity)
        return under

    def close(self) -> None:
        """Close everything."""
        for under in self._started:
            under.close()
        self._started.clear()


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
    def codec(self, manifest: Manifest, tmp_path: Path) -> Iterator[Codec]:
        """The codec of the target."""
        with _nothing_leaks(), short_logs(tmp_path):
            made = Codec(manifest, tmp_path / "log")
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
