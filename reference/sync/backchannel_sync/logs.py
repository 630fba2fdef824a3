"""Log lines for people and for machines.

Everything is logged through :mod:`logging`, below the logger ``backchannel``. What a line says in words it also carries
as attributes of the record (``event``, ``slot``, ``worker_pid``, ``requirement`` …): :class:`JsonFormatter` writes them
all, one object a line.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, Final

__all__ = ["FORMATS", "JsonFormatter", "configure"]

FORMATS: Final = ("text", "json")

_USUAL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time (seconds since the epoch), level, logger, pid, message, and its extras."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": round(record.created, 6),
            "level": record.levelname,
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _USUAL)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str, form: str) -> None:
    """Log to standard error from ``level`` up, in one of :data:`FORMATS`."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
