"""The suite's own codec and oracle agree with the vectors, and the vectors with their schema and the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from backchannel_conformance import frames
from backchannel_conformance.model import check_trace, picking, sizing
from backchannel_conformance.requirements import Requirements
from jsonschema import Draft202012Validator

VECTORS = Path(__file__).parents[2] / "spec" / "1.0" / "vectors"
FILES = sorted(path for path in VECTORS.glob("*.json") if path.name != "schema.json")


def each(name: str, part: str) -> Any:
    """A parameter for each vector."""
    found = json.loads((VECTORS / f"{name}.json").read_text())[part]
    return pytest.mark.parametrize("vector", [pytest.param(item, id=item["name"]) for item in found])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_schema(path: Path) -> None:
    schema = json.loads((VECTORS / "schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    vectors = json.loads(path.read_text())
    Draft202012Validator(schema).validate(vectors)
    for part in vectors.values():
        if isinstance(part, list):
            names = [vector["name"] for vector in part]
            assert len(names) == len(set(names)), "each vector has a name of its own"


def errors(node: Any) -> set[str]:
    """Every class of violation that a file names."""
    if isinstance(node, dict):
        return {value for key, value in node.items() if key == "error"} | errors(list(node.values()))
    return set().union(*map(errors, node)) if isinstance(node, list) else set()


def test_classes_of_violations_are_requirements() -> None:
    named = set().union(*(errors(json.loads(path.read_text())) for path in FILES))
    assert named
    assert named <= Requirements.load().keys()


@each("frames", "valid")
def test_valid_frame(vector: dict[str, Any]) -> None:
    octets = bytes.fromhex(vector["octets"])
    assert frames.decode(octets, vector["from"], first=vector["first"]) == vector["message"]
    if "decode_only" not in vector:
        assert frames.encode(vector["message"]) == octets


@each("frames", "invalid")
def test_invalid_frame(vector: dict[str, Any]) -> None:
    with pytest.raises(frames.Violation) as caught:
        frames.decode(bytes.fromhex(vector["octets"]), vector["from"], first=vector["first"])
    assert caught.value.requirement == vector["error"]


@each("streams", "streams")
def test_stream(vector: dict[str, Any]) -> None:
    rest, got = b"", []
    for read in vector["reads"]:
        found, rest = frames.cut(rest + bytes.fromhex(read))
        got.append([frame.hex() for frame in found])
    assert (got, rest.hex()) == (vector["frames"], vector["rest"])


@each("dispatch", "dispatch")
def test_dispatch(vector: dict[str, Any]) -> None:
    assert picking.orders(vector) == vector["orders"]


@each("scaling", "histories")
def test_scaling(vector: dict[str, Any]) -> None:
    sizer = sizing.Sizer(vector["rules"], vector["capacity"])
    for step in vector["steps"]:
        if step.get("event") == "early_exit":
            sizer.early_exit(step["at"])
        elif step.get("event") == "served":
            sizer.served()
        else:
            assert sizer.turn(step["at"], step["pool"]) == (step["spawn"], step["retire"]), step["at"]


@each("versions", "versions")
def test_version(vector: dict[str, Any]) -> None:
    hello = frames.decode(bytes.fromhex(vector["hello"]), "worker", first=True)["hello"]
    parent = vector["parent"]
    agreed = min(hello["highest"], parent["highest"])
    if agreed < max(hello["lowest"], parent["lowest"]):
        assert vector["error"] == "BC-VER-05"
    else:
        welcome = {"type": "ACCEPT", "order": 1, "listener": 0, "max": 0}
        assert frames.encode(welcome, agreed).hex() == vector["welcome"]


@each("parent", "traces")
def test_parent_trace(vector: dict[str, Any]) -> None:
    assert check_trace(json.dumps(line) + "\n" for line in vector["trace"]) == len(vector["trace"])


@each("worker", "traces")
def test_frames_of_a_worker_trace(vector: dict[str, Any]) -> None:
    first = True
    for step in vector["steps"]:
        whole, rest = frames.cut(bytes.fromhex(step["writes"]))
        assert not rest
        for octets in whole:
            frames.decode(octets, "worker", first=first)
            first = False
