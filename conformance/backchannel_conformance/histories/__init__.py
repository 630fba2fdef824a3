"""Histories: seeded, random scenarios, played against a running port and compared, step by step, with the model.

Those of role *worker* are ``worker_scenario`` (the steps), ``worker_generate`` (made up by chance), ``worker_stage``
(played), ``worker_model`` (what may and must come of it) and ``worker_play`` (many of them, and how one that fails is
shown). :mod:`~.shrink` makes any failing list of steps short.
"""
