"""``python -m backchannel_sync``."""

from .cli import main

raise SystemExit(main())
