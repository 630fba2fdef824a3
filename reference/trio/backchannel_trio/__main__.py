"""``python -m backchannel_trio``."""

from .cli import main

raise SystemExit(main())
