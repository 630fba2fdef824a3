"""The suite's own model of a parent, written from the specification and not from any implementation.

``parent`` has the model, ``trace`` replays what a parent has recorded. Below them: ``inputs`` (what can happen),
``actions`` (what can be seen), ``choices`` (what the specification leaves to a parent), ``pool`` (the state, and the
steps that change it), ``workers``, ``reports``, ``dispatch``, ``picking``, ``sizing``, ``reload``.
"""

from __future__ import annotations

from .actions import Action, Deviation
from .parent import Model
from .trace import Replay, check_trace

__all__ = ["Action", "Deviation", "Model", "Replay", "check_trace"]
