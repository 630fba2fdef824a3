"""Log lines for people and for machines; and for nobody, when nobody takes them.

Everything is logged through :mod:`logging`, below the logger ``backchannel``. What a line says in words it also carries
as attributes of the record (``event``, ``slot``, ``worker_pid``, ``requirement`` …): :class:`JsonFormatter` writes them
all, one object a line. A line that nobody takes is dropped and counted (:class:`Lines`): no pool waits for its log.

One record is one line: what does not print in a message, a line break above all, is written as its escape, because a
worker, a client or a file's name may have brought it along. A traceback has lines of its own; each begins with a tab,
so none can be taken for a record.
"""

from __future__ import annotations

import json
import logging
import os
import select
from typing import Any, Final

from backchannel.printing import printable

from . import standard

__all__ = ["FORMATS", "JsonFormatter", "Lines", "TextFormatter", "configure"]

log = logging.getLogger("backchannel")

FORMATS: Final = ("text", "json")

LONGEST: Final = 16384
"""Characters of one line at most."""

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


class TextFormatter(logging.Formatter):
    """A record as a line for people: time, pid, level, message; then the traceback, if there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(process)d %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line."""
        return printable(super().formatMessage(record), LONGEST)

    def formatException(self, ei: Any) -> str:
        """The traceback's lines."""
        lines = super().formatException(ei).split("\n")
        return "\n".join("\t" + printable(line, LONGEST) for line in lines)


class Lines(logging.Handler):
    """Writes each record to standard error, and neither waits nor raises where that is not possible: the line is
    dropped then, and the first one that can be written again comes after a line that says how many were.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pid = os.getpid()
        self._dropped = 0
        self._cut = False
        """The last line was written in part."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or count it."""
        if self._pid != os.getpid():  # in a worker: what was dropped before is the parent's to say
            self._pid, self._dropped, self._cut = os.getpid(), 0, False
        if (self._dropped and not self._write(self._dropped_so_far())) or not self._write(record):
            self._dropped += 1

    def _write(self, record: logging.LogRecord) -> bool:
        try:
            text = self.format(record)
        except Exception as error:  # arguments that do not fit, or cannot be written as text
            text = f"{record.levelname} {record.msg!r} (it cannot be written as it should be: {error!r})"
        data = f"{text}\n".encode(errors="backslashreplace")
        written = standard.write(standard.ERROR, b"\n" + data if self._cut else data)
        self._cut = not written and len(data) > select.PIPE_BUF
        if written:
            self._dropped = 0
        return written

    def _dropped_so_far(self) -> logging.LogRecord:
        text = "lines of this log dropped: %d; its reader stood still or was gone, or its disk was full"
        extra = {"event": "dropped", "dropped": self._dropped}
        return log.makeRecord(log.name, logging.WARNING, __file__, 0, text, (self._dropped,), None, extra=extra)


def configure(level: str, form: str) -> None:
    """Log to standard error from ``level`` up, in one of :data:`FORMATS`."""
    handler = Lines()
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
