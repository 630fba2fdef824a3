"""The backchannel protocol without I/O.

Bytes, events and monotonic time in; bytes and actions out. Put it under any loop:

- :class:`~backchannel.worker.WorkerSide` is a worker's end of its channel,
- :class:`~backchannel.parent.Parent` is the parent's end of all channels,
- :mod:`backchannel.frames` is the codec, :mod:`backchannel.states` the state tables.

No module of this package imports a socket, a selector, a process or a clock.
"""

from .actions import Action, CloseListeners, GiveUp, HalfClose, Kill, Note, Release, Reloaded, Send, Spawn
from .counters import Counters
from .errors import SettingError, Violation
from .exec_binding import ExecStart, read_variables
from .frames import (
    FRAME_SIZE,
    VERSION,
    Accept,
    Busy,
    Features,
    Frame,
    FrameReader,
    Gone,
    Hello,
    Idle,
    Reason,
    Type,
    decode,
    decode_hello,
    encode,
)
from .parent import Parent
from .settings import POLICIES, Scaling, Settings
from .sizing import Decision, Memory, WorkerView, decide
from .states import CLEAN, CONFIGURATION, PROTOCOL, PoolState, State, WorkerState
from .worker import WorkerSide

__all__ = [
    "CLEAN",
    "CONFIGURATION",
    "FRAME_SIZE",
    "POLICIES",
    "PROTOCOL",
    "VERSION",
    "Accept",
    "Action",
    "Busy",
    "CloseListeners",
    "Counters",
    "Decision",
    "ExecStart",
    "Features",
    "Frame",
    "FrameReader",
    "GiveUp",
    "Gone",
    "HalfClose",
    "Hello",
    "Idle",
    "Kill",
    "Memory",
    "Note",
    "Parent",
    "PoolState",
    "Reason",
    "Release",
    "Reloaded",
    "Scaling",
    "Send",
    "SettingError",
    "Settings",
    "Spawn",
    "State",
    "Type",
    "Violation",
    "WorkerSide",
    "WorkerState",
    "WorkerView",
    "decide",
    "decode",
    "decode_hello",
    "encode",
    "read_variables",
]
