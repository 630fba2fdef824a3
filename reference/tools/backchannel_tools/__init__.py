"""Tools to look into a pool, whatever it is written in.

``python -m backchannel_tools.top`` reads the status socket; ``python -m backchannel_tools.trace`` decodes what went
over a channel. They know the adapter contract and the frames, and no implementation.
"""
