"""A world for the parent's side without processes: a queue for each listener, and workers that do as they are told.

``World`` carries out the parent's actions and plays the kernel. Tests say what workers and clients do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from backchannel import (
    FRAME_SIZE,
    VERSION,
    Accept,
    Busy,
    Features,
    Gone,
    HalfClose,
    Hello,
    Idle,
    Kill,
    Note,
    Parent,
    Reason,
    Scaling,
    Send,
    Settings,
    Spawn,
    decode,
    encode,
)
from backchannel.actions import CloseListeners, GiveUp, Release, Reloaded
from backchannel.trace import record


@dataclass(eq=False)
class FakeWorker:
    """A worker as it is: what it holds, what it was ordered, whether it was drained or killed."""

    slot: int
    capacity: int
    open: int = 0
    orders: list[Accept] = field(default_factory=list)
    drained: bool = False
    killed: bool = False


class World:
    """The parent and everything around it."""

    def __init__(
        self,
        settings: Settings | None = None,
        scaling: Scaling | None = None,
        listeners: int = 1,
        *,
        standby: bool = False,
    ) -> None:
        self.settings = settings or Settings()
        self.parent = Parent(self.settings, scaling or Scaling.fixed(3), listeners, standby=standby)
        self.now = 0.0
        self.queue = [0] * listeners
        self.workers: dict[int, FakeWorker] = {}
        self.notes: list[Note] = []
        self.closed = False
        self.gave_up: GiveUp | None = None
        self.released = False
        self.reloads: list[Reloaded] = []
        self.no_processes = 0
        """So many spawns fail from now on."""
        self.full: set[int] = set()
        """Slots whose channels take no ACCEPT."""
        self.failed: list[int] = []
        """Those to which one was to be sent."""
        self.trace: list[str] = []
        record(self.parent, self.trace.append)
        self.parent.start(self.now)
        self.turn()

    # ------------------------------------------------------------------------------------- the shell

    def turn(self) -> None:
        """One pass."""
        self.parent.judge(self.now)
        self.parent.dispatch({listener: self.queue[listener] for listener in self.parent.to_count()})
        self.parent.scale(self.now)
        failed = len(self.failed)
        while actions := self.parent.take_actions():
            for action in actions:
                self.do(action)
        if len(self.failed) > failed:
            self.turn()  # the next pass knows of it

    def do(self, action: object) -> None:
        match action:
            case Spawn(slot):
                assert slot not in self.workers
                if self.no_processes:
                    self.no_processes -= 1
                    self.parent.spawn_failed(slot, "no process", self.now)
                    return
                self.full.discard(slot)
                self.workers[slot] = FakeWorker(slot, self.settings.capacity)
            case Send(slot, data):
                order = decode(data)
                assert isinstance(order, Accept)
                if slot in self.full:
                    self.failed.append(slot)
                    self.parent.send_failed(slot, self.now)
                    return
                assert not self.workers[slot].killed
                assert not self.workers[slot].orders, "a second order while one is unanswered (BC-ORDER-01)"
                self.workers[slot].orders.append(order)
            case HalfClose(slot):
                self.workers[slot].drained = True
            case Kill(slot):
                self.workers[slot].killed = True
            case Note():
                self.notes.append(action)
            case CloseListeners():
                self.closed = True
            case Release():
                assert not self.released
                self.released = True
            case Reloaded():
                self.reloads.append(action)
            case GiveUp():
                self.gave_up = action

    def wait(self, seconds: float) -> None:
        """Let time pass, waking at deadlines only."""
        until = self.now + seconds
        while (deadline := self.parent.next_deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.turn()
        self.now = until
        self.turn()

    # ----------------------------------------------------------------------------------- the workers

    def write(self, slot: int, data: bytes) -> None:
        """A worker writes; the parent reads at once."""
        self.parent.received(slot, data, self.now)
        self.turn()

    def hello(self, slot: int, lowest: int = VERSION, highest: int = VERSION) -> None:
        hello = Idle(self.workers[slot].capacity, Hello(lowest, highest, Features.NONE))
        self.write(slot, encode(hello, lowest))

    def attempt(self, slot: int) -> bytes:
        """A worker carries out its order; the answer has not been sent yet."""
        worker = self.workers[slot]
        order = worker.orders.pop(0)
        taken = min(order.max, self.queue[order.listener])
        self.queue[order.listener] -= taken
        worker.open += taken
        reason = Reason.FILLED if taken == order.max else Reason.EMPTY
        return encode(Busy(order.order, taken, reason, worker.open, worker.capacity))

    def answer(self, slot: int) -> None:
        self.write(slot, self.attempt(slot))

    def end(self, slot: int, count: int = 1) -> None:
        """Connections of a worker end, and it says so."""
        worker = self.workers[slot]
        worker.open -= count
        self.write(slot, encode(Gone(worker.open, worker.capacity) if worker.open else Idle(worker.capacity)))

    def exit(self, slot: int, status: int = 0) -> None:
        del self.workers[slot]
        self.parent.exited(slot, status, self.now)
        self.turn()

    def greet_all(self) -> None:
        """Every worker says hello and answers the welcome."""
        for slot in list(self.workers):
            self.hello(slot)
            self.answer(slot)

    # ----------------------------------------------------------------------------------- the clients

    def connect(self, listener: int = 0, count: int = 1) -> None:
        self.queue[listener] += count
        self.parent.readable(listener)
        self.turn()

    def ordered(self) -> dict[int, int]:
        """Connections under order, by slot."""
        return {
            slot: worker.orders[0].max
            for slot, worker in self.workers.items()
            if worker.orders and worker.orders[0].max
        }


def garbage(data: bytes) -> list[bytes]:
    """``data`` in frames."""
    return [data[at : at + FRAME_SIZE] for at in range(0, len(data), FRAME_SIZE)]
