"""The conformance suite of the backchannel protocol: it knows the specification, and runs pools it knows nothing else of.

A pool under test is reached through its manifest and the pool contract alone. Neither the core nor the shells are
imported here, and the suite has its own codec and its own oracle: if it shared the core's, a wrong core would look right.
"""

SUITE_VERSION = "0.1"
SPEC_VERSION = "1.0"
CONTRACT_VERSION = "1.0"
