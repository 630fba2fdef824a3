"""How random tests draw their examples: the same ones in each run of CI, new ones in each run elsewhere.

A failure in CI must be one that the change under test has made, and that anybody can see again; elsewhere each run
looks at something that no run has looked at before. ``pytest --hypothesis-profile explore`` looks for an hour.
"""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

settings.register_profile("everyday", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, max_examples=100_000, suppress_health_check=list(HealthCheck))
settings.load_profile("ci" if os.environ.get("CI") else "everyday")

# A shell starts what it puts into the background with SIGINT ignored, and programs inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
