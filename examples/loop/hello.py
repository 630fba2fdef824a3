"""A service to try the worker with."""

import os


async def handle(reader, writer):
    await reader.read(1000)  # readline() raises ValueError for a line without an end
    writer.write(b"hello from %d\n" % os.getpid())
    await writer.drain()
