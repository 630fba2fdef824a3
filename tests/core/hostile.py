"""What a hostile peer writes, against each side of the core: the targets of every fuzzer.

A *script* is octets that say what happens: which frames are made, how they are spoiled and cut, when time passes. So
any random octets are a history, and a fuzzer that looks at coverage can find its way. Raw octets alone would hardly
get past the version of the first frame.
"""

from __future__ import annotations

from collections.abc import Iterator

from backchannel import FRAME_SIZE, VERSION, Accept, Busy, Gone, Idle, Parent, Reason, Scaling, Settings, Violation
from backchannel.actions import Kill, Note, Send, Spawn
from backchannel.frames import Features, Frame, Hello, encode
from backchannel.states import PROTOCOL, SlotState, WorkerState
from backchannel.worker import WorkerSide

__all__ = ["parent", "worker"]

_VERSIONS = (VERSION, VERSION, VERSION, 0, 0x11, 0x20, 0xFF)


class Script:
    """Octets, taken one by one; 0 when there are none left."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._octets)

    def take(self, below: int = 256) -> int:
        found = self._octets[self._at] % below if self else 0
        self._at += 1
        return found

    def raw(self, count: int) -> bytes:
        found = self._octets[self._at : self._at + count]
        self._at += count
        return found

    def word(self) -> int:
        """A small figure mostly; at times one at the edge of what a word holds."""
        small = self.take()
        return small if small < 250 else (0xFFFF_FFFF, 1 << 31, 1 << 20, (1 << 20) + 1, 1 << 16, 300)[small - 250]


def _frame(script: Script, order: int, open_: int, capacity: int) -> bytes:
    """A frame that is right, or nearly so."""
    kind = script.take(8)
    frame: Frame
    if kind == 0:
        lowest, highest = script.take(), script.take()
        frame = Idle(script.word(), Hello(lowest, highest, Features(script.take(2))))
    elif kind == 1:
        frame = Idle(capacity, Hello(VERSION, VERSION, Features.NONE))
    elif kind == 2:
        frame = Busy(order, script.take(3), Reason(script.take(6)), open_ + script.take(3), capacity)
    elif kind == 3:
        frame = Busy(script.word(), script.word(), Reason(script.take(6)), script.word(), script.word())
    elif kind == 4:
        frame = Gone(script.word(), script.word())
    elif kind == 5:
        frame = Idle(script.word())
    elif kind == 6:
        frame = Accept(order + script.take(2), script.take(3), script.take(4))
    else:
        return script.raw(FRAME_SIZE + script.take(FRAME_SIZE))
    octets = bytearray(encode(frame, _VERSIONS[script.take(len(_VERSIONS))]))
    if script.take(8) == 7:
        octets[script.take(FRAME_SIZE)] ^= 1 << script.take(8)
    return bytes(octets[: FRAME_SIZE - script.take(FRAME_SIZE)]) if script.take(8) == 7 else bytes(octets)


def parent(octets: bytes) -> None:
    """Worker 0 of three writes what ``octets`` say. Only it may suffer for that; nothing raises, nothing grows."""
    script = Script(octets)
    core = Parent(Settings(capacity=1 + script.take(3)), Scaling.fixed(3), 1 + script.take(2))
    now = 0.0
    core.start(now)
    given = [0, 0, 0]
    killed: set[int] = set()

    def act() -> None:
        while actions := core.take_actions():
            for action in actions:
                match action:
                    case Send(slot, data):
                        given[slot] += int.from_bytes(data[12:16])
                    case Kill(slot):
                        killed.add(slot)
                    case Note(0, _, requirement):
                        assert requirement is None or requirement.startswith("BC-")
                    case Spawn():
                        assert not now, "a worker was replaced before it was gone"

    act()
    for slot in (1, 2):
        core.received(slot, encode(Idle(1, Hello(VERSION, VERSION, Features.NONE))), now)
        act()
        core.received(slot, encode(Busy(1, 0, Reason.FILLED, 0, 1)), now)
    if script.take(4):
        # most histories begin well: else hardly any would come to an order
        core.received(0, encode(Idle(core.settings.capacity, Hello(VERSION, VERSION, Features.NONE))), now)
        act()
        core.received(0, encode(Busy(1, 0, Reason.FILLED, 0, core.settings.capacity)), now)
    while script:
        step = script.take(8)
        victim = core.workers[0]
        if step == 0:
            now += script.take() / 1000
            core.judge(now)
        elif step == 1:
            core.readable(script.take(len(core.backlogs)))
            core.dispatch({listener: script.take(4) for listener in core.to_count()})
        elif victim.state in (SlotState.STARTING, SlotState.READY, SlotState.SUSPECT, SlotState.DRAINING):
            order = victim.order.id if victim.order else script.take(4)
            core.received(0, _frame(script, order, victim.open, victim.capacity), now)
        else:
            break
        act()
        assert victim.open <= given[0], "it is taken to hold more than it was ever ordered to take"
        assert victim.capacity <= core.settings.capacity_ceiling
        assert not {1, 2} & killed, "another worker was killed for it"
        assert (victim.state is SlotState.KILLED) is (0 in killed)
    for slot in (1, 2):
        assert core.workers[slot].state in (SlotState.READY, SlotState.SUSPECT, SlotState.DRAINING)


def worker(octets: bytes) -> None:
    """A parent writes what ``octets`` say. The side obeys, or raises Violation once and is silent from then on."""
    script = Script(octets)
    side = WorkerSide(capacity=1 + script.take(3), listeners=1 + script.take(2))
    side.hello()
    due = 1
    written = 0
    while script:
        step = script.take(8)
        if step == 0:
            side.sent(min(len(side.outgoing()), script.take(64)))
        elif step == 1 and side.open:
            side.ended()
        elif step == 2:
            side.set_capacity(1 + script.take(4))
        elif step == 3 and script.take(16) == 15:
            side.retire()
        else:
            data = encode(Accept(due, script.take(2), script.take(3))) if script.take(4) else _frame(script, due, 0, 1)
            written += len(data)
            try:
                received = side.receive(data)
            except Violation:
                assert (side.state, side.exit_status) == (WorkerState.DRAINING, PROTOCOL)
                assert not side.outgoing(), "it writes after a violation"
                return
            due += len(received)
            for order in _answered(side, received, script):
                assert order.max >= 0
        # one frame begun, the answers owed, one status: nothing else may queue
        assert len(side.outgoing()) <= FRAME_SIZE * (due + 2)


def _answered(side: WorkerSide, orders: list[Accept], script: Script) -> Iterator[Accept]:
    for order in orders:
        accepted = script.take(order.max + 1) if order.max < 256 else 0
        side.answer(order, accepted, Reason.FILLED if accepted == order.max else Reason.EMPTY)
        yield order
