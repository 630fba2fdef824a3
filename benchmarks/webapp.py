"""One application in the two forms that Python's web servers call, so that a comparison compares the servers.

``/`` costs nothing; ``/b/MICROSECONDS`` costs so much processor time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import handlers

__all__ = ["application", "asynchronous"]

HEADERS = (("Content-Type", "text/plain"),)


def act(path: str) -> bytes:
    """Do what ``path`` asks for; return the answer."""
    return handlers.act(path.removeprefix("/").replace("/", " ").encode())


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """For WSGI."""
    body = act(environ["PATH_INFO"])
    start_response("200 OK", [*HEADERS, ("Content-Length", str(len(body)))])
    return [body]


async def asynchronous(
    scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Callable[..., Awaitable[None]]
) -> None:
    """For ASGI."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = act(scope["path"])
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
