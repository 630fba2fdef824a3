"""Histories of role *pool*: clients come and go, workers are killed and stopped, the pool is reloaded and stopped.

Steps (:mod:`~.scenario`) are made up from a seed. :mod:`~.stage` does them with a running pool, and after each checks
what holds however the parent places connections.
"""
