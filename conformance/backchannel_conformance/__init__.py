"""The conformance suite of the backchannel protocol.

It runs an implementation that it knows only by a manifest (``spec/adapter``), watches it from outside, and says which
requirements of the specification hold. It is built on pytest: cases are tests, and
:mod:`backchannel_conformance.plugin` adds implementations, requirements, figures and the report. It imports nothing
of what it tests.
"""

SUITE = "0.1.0"
"""The suite's own version."""
SPEC = "1.0"
"""The version of the protocol that it tests."""
CONTRACT = "1.0"
"""The version of the adapter contract that it speaks."""
