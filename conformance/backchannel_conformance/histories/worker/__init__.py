"""Histories of role *worker*: the suite plays its parent and its clients, and injects faults.

Settings and steps (:mod:`~.scenario`) are made up as a whole, from a seed (:mod:`~.generate`). :mod:`~.stage` does the
steps; after each, :mod:`~.observer` waits until the worker has come to rest, and compares each frame and each
connection with :mod:`~.model`. :mod:`~.play` has one worker live through as many histories as it can.
"""
