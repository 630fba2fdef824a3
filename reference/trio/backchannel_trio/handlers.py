"""Handlers: found by name, and what some of them need for as long as their worker lives.

A *service* is a function, decorated by :func:`contextlib.asynccontextmanager`, that yields a handler. What stands
before the ``yield`` is done before the worker says hello: a database pool is open, an application has started, and a
worker that cannot do it never gets ready, so a reload keeps the old ones (BC-RELOAD-05). What stands after it is done
when the last connection has ended.
"""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeGuard, cast

import trio
from backchannel import CONFIGURATION
from backchannel_server.errors import StartError
from backchannel_server.handlers import check_arguments, load_to_serve
from backchannel_server.standard import say

__all__ = ["Handler", "Service", "find", "living"]

log = logging.getLogger("backchannel.worker")

Handler = Callable[[trio.SocketStream], Awaitable[object]]
"""Serves one connection; the worker closes it when this returns or raises."""

Service = Callable[[], AbstractAsyncContextManager[Handler]]
"""Makes the handler, in each worker, and lives as long as it."""


def find(name: str) -> Handler | Service:
    """What is called ``name``. Raises :class:`StartError` if there is none, or if it is neither of the two."""
    found = load_to_serve(name)
    if not is_service(found):
        _check(found, name)
    return found


def is_service(found: object) -> TypeGuard[Service]:
    """Whether ``found`` is decorated by :func:`contextlib.asynccontextmanager`."""
    unwrapped = inspect.unwrap(found) if callable(found) else found
    return unwrapped is not found and inspect.isasyncgenfunction(unwrapped)


@asynccontextmanager
async def living(found: Handler | Service, name: str, timeout: float) -> AsyncIterator[Handler]:
    """The handler, for as long as it may be called. Raises :class:`StartError` when its service does not start.

    What its service does at the end is cancelled after ``timeout`` seconds: the parent may be gone, and would not end
    a worker that hangs.
    """
    if not is_service(found):
        yield cast(Handler, found)  # the other of the two
        return
    wrong: StartError | None = None
    with trio.CancelScope() as life:
        async with AsyncExitStack() as stack:
            try:
                handler = await stack.enter_async_context(found())
            except Exception as error:
                say(traceback.format_exc())
                raise StartError(CONFIGURATION, f"service {name!r} cannot start ({type(error).__name__})") from None
            try:
                _check(handler, f"{name}()")
            except StartError as error:
                wrong = error  # raised in here, a nursery of the service would wrap it
            else:
                yield handler
                life.deadline = trio.current_time() + timeout
    if wrong:
        raise wrong
    if life.cancelled_caught:
        log.error("service %r had not ended after %g s: it was cancelled", name, timeout)


def _check(handler: Handler, name: str) -> None:
    if inspect.isasyncgenfunction(handler):
        text = f"handler {name!r} is an async generator: decorate it with contextlib.asynccontextmanager"
        raise StartError(CONFIGURATION, text)
    check_arguments(handler)
    call = getattr(handler, "__call__", None)  # noqa: B004 - an object whose __call__ is an async function
    if not (inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)):
        text = f"handler {name!r} is not an async function: write async def, or use python -m backchannel_sync"
        raise StartError(CONFIGURATION, text)
