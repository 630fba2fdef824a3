"""Histories of role *parent*: the suite plays its workers, its clients, time and signals.

A *scenario* is plain data: the parent's settings, and steps of its workers (played by puppets), of clients, of time and
of signals (:mod:`~.scenario`). :mod:`~.generate` makes them up, one step after another, from a seed and from what the
model says of the pool. :mod:`~.stage` has the parent under test, and does the steps. After each step the suite waits
until the parent has settled, and :mod:`~.compare` asks whether the model can have done all that is visible, and nothing
else. A scenario that deviates is made as short as it can be on fresh parents, and shown as a script and a chart
(:mod:`~.chart`).
"""
