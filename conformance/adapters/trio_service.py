"""The test service of the adapter contract, as a handler of the trio reference."""

from __future__ import annotations

import trio
from commands import act, holding


async def handle(stream: trio.SocketStream) -> None:
    """Any capacity."""
    buffer = b""
    while b"\n" not in buffer:
        data = await stream.receive_some(4096)
        if not data:
            return
        buffer += data
    line, _, rest = buffer.partition(b"\n")
    if line != b"hold":
        await stream.send_all(act(line) or b"")
        return
    await stream.send_all(holding() * (1 + rest.count(b"\n")))
    async for data in stream:
        await stream.send_all(holding() * data.count(b"\n"))
