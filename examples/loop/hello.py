"""A service to try the worker with."""

import os


async def handle(reader, writer):
    await reader.readline()
    writer.write(b"hello from %d\n" % os.getpid())
    await writer.drain()
