"""The core does what the specification's vectors say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from backchannel import (
    CLEAN,
    VERSION,
    Accept,
    Action,
    Busy,
    Features,
    Frame,
    FrameReader,
    Gone,
    Hello,
    Idle,
    Kill,
    Memory,
    Parent,
    Reason,
    Scaling,
    Send,
    Settings,
    SlotState,
    Violation,
    WorkerSide,
    WorkerView,
    decide,
    decode,
    decode_hello,
    encode,
)
from backchannel.sizing import delayed
from backchannel.slots import Order, Worker
from backchannel.trace import record

VECTORS = Path(__file__).parents[2] / "spec" / "1.0" / "vectors"


def load(name: str) -> dict[str, Any]:
    """One file of vectors."""
    found: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return found


def each(name: str, part: str) -> Any:
    """A parameter for each vector."""
    return pytest.mark.parametrize("vector", [pytest.param(item, id=item["name"]) for item in load(name)[part]])


def frame(message: dict[str, Any]) -> Frame:
    """The message as an object."""
    fields = {name: value for name, value in message.items() if name not in ("type", "hello")}
    match message["type"]:
        case "ACCEPT":
            return Accept(**fields)
        case "BUSY":
            return Busy(**{**fields, "reason": Reason[fields["reason"]]})
        case "GONE":
            return Gone(**fields)
    hello = None
    if "hello" in message:
        features = Features.NONE
        for name in message["hello"]["features"]:
            features |= Features[name]
        hello = Hello(message["hello"]["lowest"], message["hello"]["highest"], features)
    return Idle(fields["capacity"], hello)


def understand(octets: bytes, sender: str, first: bool) -> Frame:
    """As the receiving side of the core would."""
    if sender == "parent":
        worker = WorkerSide(capacity=1, listeners=1 << 32)
        worker.hello()
        if not first:
            worker.receive(encode(Accept(1, 0, 0)))
        [order] = worker.receive(octets)
        return order
    if first:
        return decode_hello(octets)
    found = decode(octets)
    if isinstance(found, Accept):
        raise Violation("BC-FRAME-03", "ACCEPT from a worker")
    if isinstance(found, Idle) and found.hello is not None:
        raise Violation("BC-HELLO-03", "a second hello")
    return found


@each("frames", "valid")
def test_valid_frame(vector: dict[str, Any]) -> None:
    octets, message = bytes.fromhex(vector["octets"]), frame(vector["message"])
    assert understand(octets, vector["from"], vector["first"]) == message
    if "decode_only" not in vector:
        version = message.hello.lowest if isinstance(message, Idle) and message.hello else 0x10
        assert encode(message, version) == octets


@each("frames", "invalid")
def test_invalid_frame(vector: dict[str, Any]) -> None:
    with pytest.raises(Violation) as caught:
        understand(bytes.fromhex(vector["octets"]), vector["from"], vector["first"])
    assert caught.value.requirement == vector["error"]


@each("streams", "streams")
def test_stream(vector: dict[str, Any]) -> None:
    reader = FrameReader()
    got = [[part.hex() for part in reader.feed(bytes.fromhex(read))] for read in vector["reads"]]
    assert got == vector["frames"]


@each("dispatch", "dispatch")
def test_dispatch(vector: dict[str, Any]) -> None:
    settings = Settings(policy=vector["policy"], max_per_order=vector["max_per_order"], capacity_ceiling=1 << 32)
    parent = Parent(settings, Scaling.fixed(1), len(vector["listeners"]))
    for item in vector["workers"]:
        worker = Worker(item["slot"], 0.0, state=SlotState[item["state"]], greeted=True)
        worker.open, worker.capacity = item["open"], item["capacity"]
        if item["reserved"] or item.get("ordered"):
            worker.order = Order(1, 0, item["reserved"], expired=item["state"] == "SUSPECT")
        worker.cooling = item.get("cooling", False)
        worker.passed_over = set(item.get("passed_over", ()))
        parent.workers[worker.slot] = worker
        parent._changed(worker)
    for backlog, item in zip(parent.backlogs, vector["listeners"], strict=True):
        backlog.in_flight, backlog.owed, backlog.dirty = item["in_flight"], item["owed"], True
        backlog.cooling, backlog.retrying = item.get("cooling", False), item.get("retrying", False)
    parent._dispatch.next_listener = vector["turn"]
    pending = [item["pending"] for item in vector["listeners"]]
    parent.dispatch({index: pending[index] for index in parent.to_count()})
    sent = [(action.slot, decode(action.data)) for action in parent.take_actions() if isinstance(action, Send)]
    made = [{"slot": slot, "listener": order.listener, "max": order.max} for slot, order in sent]  # type: ignore[union-attr]
    assert made == vector["orders"]


@each("scaling", "histories")
def test_scaling(vector: dict[str, Any]) -> None:
    scaling = Scaling(**{"period" if name == "pass" else name: value for name, value in vector["rules"].items()})
    memory = Memory()
    for step in vector["steps"]:
        if step.get("event") == "early_exit":
            memory = delayed(memory, scaling, step["at"])
        elif step.get("event") == "served":
            memory = Memory(memory.rate, memory.last)
        else:
            pool = [WorkerView(**{**worker, "state": SlotState[worker["state"]]}) for worker in step["pool"]]
            decision, memory = decide(pool, scaling, vector["capacity"], memory, step["at"])
            assert (decision.spawn, decision.retire) == (step["spawn"], step["retire"]), step["at"]


@each("versions", "versions")
def test_version(vector: dict[str, Any]) -> None:
    if vector["parent"] != {"lowest": VERSION, "highest": VERSION}:
        pytest.skip("the core's parent speaks 1.0")
    parent = Parent(Settings(), Scaling.fixed(1))
    parent.start(0.0)
    parent.take_actions()
    parent.received(0, bytes.fromhex(vector["hello"]), 0.0)
    actions: list[Action] = parent.take_actions()
    if "welcome" in vector:
        assert actions == [Send(0, bytes.fromhex(vector["welcome"]))]
    else:
        assert Kill(0) in actions
        assert not any(isinstance(action, Send) for action in actions)


@each("parent", "traces")
def test_parent_trace(vector: dict[str, Any]) -> None:
    header, *lines = vector["trace"]
    parent = Parent(Settings(**header["settings"]), Scaling(**header["scaling"]), header["listeners"])
    made: list[str] = []
    record(parent, made.append)
    for line in lines:
        arguments = {name: value for name, value in line.items() if name != "in"}
        if "data" in line:
            arguments["data"] = bytes.fromhex(line["data"])
        if "counts" in line:
            arguments["counts"] = {int(name): pending for name, pending in line["counts"].items()}
        if "in" in line:
            getattr(parent, line["in"])(**arguments)
        if line.get("in") == "scale":
            parent.take_actions()
    kept = [line for line in map(json.loads, made[1:]) if line.get("out") != "Note"]
    assert kept == lines


@each("worker", "traces")
def test_worker_trace(vector: dict[str, Any]) -> None:
    side = WorkerSide(vector["capacity"], vector["listeners"])
    for step in vector["steps"]:
        if "reads" in step and "error" in step:
            with pytest.raises(Violation, match=step["error"]):
                side.receive(bytes.fromhex(step["reads"]))
        elif "reads" in step:
            for order, (taken, reason) in zip(
                side.receive(bytes.fromhex(step["reads"])), step["attempts"], strict=True
            ):
                side.answer(order, taken, Reason[reason])
        else:
            getattr(side, step["do"])(*([step["count"]] if "count" in step else []))
        written = side.outgoing()
        side.sent(len(written))
        assert written.hex() == step["writes"]
        if "finished" in step:
            assert side.finished is step["finished"]
            assert side.exit_status == step.get("exit", CLEAN)
