"""Tools to look into a pool, whatever it is written in.

``python -m backchannel_tools.top`` reads the status socket of any pool; it knows the adapter contract, and no
implementation.
"""
