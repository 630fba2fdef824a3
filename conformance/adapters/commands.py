"""The commands of the test service that end with their answer, for the handlers of both references."""

from __future__ import annotations

import os
import resource
import time

from backchannel_server import current_worker


def pass_gate() -> None:
    """What the contract asks of a worker that finds the gate while it starts."""
    while True:
        try:
            with open(os.environ.get("SERVICE_GATE") or "/nowhere/at/all") as gate:
                text = gate.read()
        except OSError:
            return
        if text == "fail":
            raise RuntimeError("told to fail by the suite")
        time.sleep(0.01)


pass_gate()


class Raised(Exception):
    """What ``raise`` raises, and nothing catches."""


def who(*more: int) -> bytes:
    figures = (os.getpid(), current_worker().slot, *more)
    return " ".join(map(str, figures)).encode() + b"\n"


def holding() -> bytes:
    """The answer on a connection that is held."""
    return who(resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw)


def act(line: bytes) -> bytes | None:
    """Carry out a command that ends with its answer; ``None`` for what has none."""
    match line.split():
        case [b"who"]:
            return who()
        case [b"burn", milliseconds]:
            until = time.process_time() + int(milliseconds) / 1000
            while time.process_time() < until:
                pass
            return who()
        case [b"raise"]:
            raise Raised("asked to by the suite")
        case [b"exit", status]:
            os._exit(int(status))
        case _:
            return None
