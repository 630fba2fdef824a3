"""Handlers: found by name, and sorted into the two kinds of worker."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from backchannel import CONFIGURATION

from .errors import StartError
from .standard import say

__all__ = ["Handler", "check", "check_arguments", "explain", "is_event_handler", "load", "load_to_serve", "split"]

Handler = Callable[[Any], Any]
"""A :data:`~backchannel_sync.blocking.BlockingHandler` or an :data:`~backchannel_sync.events.EventHandler`."""


def split(name: str) -> tuple[str, str]:
    """The two parts of ``MODULE:ATTRIBUTE``. Raises :class:`StartError` when it is written otherwise."""
    module_name, colon, attribute = name.partition(":")
    if module_name.endswith(".py"):
        raise StartError(2, f"handler {name!r}: name the module, {module_name.removesuffix('.py')}, not its file")
    if not (colon and module_name and attribute):
        raise StartError(2, f"handler {name!r}: write MODULE:ATTRIBUTE, as in mypackage.server:handle")
    return module_name, attribute


def load(name: str) -> Handler:
    """The handler called ``MODULE:ATTRIBUTE``. The current directory is searched first, as with ``python -m``.

    Raises :class:`StartError` when there is none. What the module itself raises while it is imported is raised as it
    is: the traceback is what its author needs.
    """
    module_name, attribute = split(name)
    importlib.invalidate_caches()  # what an import remembers of directories may be the parent's, and old
    with contextlib.suppress(OSError):  # it has been removed: what else is on the path may do
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        text = (
            f"handler {name!r}: there is no module {error.name!r}; is its directory the current one, or on PYTHONPATH?"
        )
        raise StartError(CONFIGURATION, text) from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            where = getattr(sys.modules[module_name], "__file__", None) or "built in"
            raise StartError(CONFIGURATION, f"handler {name!r}: {module_name} ({where}) has no {attribute!r}")
        found = getattr(found, part)
    if not callable(found):
        raise StartError(CONFIGURATION, f"handler {name!r} is not a function")
    return found


def load_to_serve(name: str) -> Handler:
    """:func:`load`, in a worker that is a program of its own: what the module raises is printed, and is a
    :class:`StartError`, so that the worker ends with the status that says that another try is of no use.
    """
    try:
        return load(name)
    except StartError:
        raise
    except BaseException as error:
        say(traceback.format_exc())
        raise StartError(CONFIGURATION, f"the handler cannot be loaded ({type(error).__name__})") from None


def explain(error: BaseException) -> str:
    """What is wrong with a module that raises ``error`` while it is imported, for its author: where, and what."""
    last = traceback.format_tb(error.__traceback__)[-1]
    what = "".join(traceback.format_exception_only(error))
    return f"the handler cannot be loaded\n{last}{what}".rstrip()


def is_event_handler(handler: Handler) -> bool:
    """Whether ``handler`` is a generator function, and so wants an event-based worker."""
    return inspect.isgeneratorfunction(handler) or inspect.isgeneratorfunction(
        getattr(handler, "__call__", None)  # noqa: B004 - an object whose __call__ is a generator function
    )


def check_arguments(handler: Handler) -> None:
    """Raise :class:`StartError` if ``handler`` cannot be called with a connection and nothing else."""
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return  # one that does not say
    try:
        signature.bind(None)
    except TypeError as error:
        text = (
            f"handler {getattr(handler, '__qualname__', handler)!r} cannot be called with one connection ({error}); "
            "a WSGI or ASGI application needs a server around it, as in examples/wsgi and examples/asgi"
        )
        raise StartError(CONFIGURATION, text) from None


def check(handler: Handler, capacity: int) -> None:
    """Raise :class:`StartError` if ``handler`` cannot serve ``capacity`` connections at once."""
    check_arguments(handler)
    if inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler):
        name = getattr(handler, "__qualname__", handler)
        text = f"handler {name!r} is an async function: python -m backchannel_trio serves those"
        raise StartError(CONFIGURATION, text)
    if capacity > 1 and not is_event_handler(handler):
        text = (
            f"handler {getattr(handler, '__qualname__', handler)!r} is a plain function and serves one connection "
            f"at a time, but capacity is {capacity}: use --capacity 1, or a generator function"
        )
        raise StartError(CONFIGURATION, text)
