"""``python -m backchannel_sync``."""

from backchannel_server.standard import flush

from .cli import main

try:
    raise SystemExit(main())
finally:
    flush(last=True)
