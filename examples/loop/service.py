"""The test service of the adapter contract: what the suite asks of a worker's handler."""

from __future__ import annotations

import asyncio

from commands import act, holding


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One command; ``hold`` answers each further line until the client goes."""
    line = await reader.readline()
    if not line.endswith(b"\n"):
        return
    if line != b"hold\n":
        writer.write(act(line[:-1]) or b"")
        await writer.drain()
        return
    writer.write(holding())
    while (await reader.readline()).endswith(b"\n"):
        writer.write(holding())
        await writer.drain()
