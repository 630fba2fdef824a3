"""Tools to look into a pool, whatever it is written in.

``python -m backchannel_tools.top`` reads the status socket; ``python -m backchannel_tools.trace`` decodes what went
over a channel. They know the adapter contract and the frames, and no implementation.
"""

import os
import sys

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and sys.path[0] != os.path.dirname(__path__[0]):
    # python -m searches the current directory first. These tools, which root runs as well, need nothing from it, and
    # a file json.py of whoever owns it shall not run with the rights of who looks into the pool
    del sys.path[0]
