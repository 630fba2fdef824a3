"""``python -m backchannel_sync``."""

from .cli import main
from .standard import flush

try:
    raise SystemExit(main())
finally:
    flush(last=True)
