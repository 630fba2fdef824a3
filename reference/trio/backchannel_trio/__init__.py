"""The backchannel protocol on trio: event-based workers under structured concurrency.

A handler is ``async def handler(stream)``; ``python -m backchannel_trio.worker MODULE:HANDLER`` is the worker that
serves with it, for any parent. :func:`current_worker` tells a handler where it runs.
"""

from backchannel_sync.context import WorkerInfo, current_worker

__all__ = ["WorkerInfo", "current_worker"]
