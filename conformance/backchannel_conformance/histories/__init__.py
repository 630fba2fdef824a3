"""Histories: seeded, random scenarios, played against what runs and compared, step by step, with what must come of it.

There is a folder for each role: :mod:`~.parent`, :mod:`~.worker` and :mod:`~.pool`. A history that fails is made as
short as it can be (:mod:`~.shrink`); :mod:`~.plan` says how many are played, and from which seed on.
"""
