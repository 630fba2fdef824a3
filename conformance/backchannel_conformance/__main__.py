"""``python -m backchannel_conformance``."""

from .cli import main

raise SystemExit(main())
