"""The program of a puppet: a worker of a parent under test that hands all it has to the suite, and waits for its end.

    python -I -S puppet_program.py CONTROL

It connects to the suite's control socket, sends its channel and its listeners over it with its variables, closes its
own copies, and waits until it is told to exit or is killed. The suite then is the worker, and nobody has to ask a
process for each step. It imports only what is built in, because a run starts thousands of these.
"""

import _socket
import posix
import sys

PREFIX = b"BACKCHANNEL_"
ENDS = 4
"""Octets of an order to end: ``exit`` or ``kill``, as ``e`` or ``k``, and three digits."""


def main() -> None:
    """Hand over, wait, end."""
    variables = {name: value for name, value in posix.environ.items() if name.startswith(PREFIX)}
    count = int(variables.get(PREFIX + b"LISTENERS", b"0"))
    # as many as they say, and one more if there is one: it would be a descriptor that leaked
    descriptors = [*range(3, 4 + count)]
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    control.connect(sys.argv[1])
    said = b"\n".join([b"%d" % posix.getpid(), *(name + b"=" + value for name, value in variables.items())]) + b"\n\n"
    handed = b"".join(fd.to_bytes(4, sys.byteorder) for fd in descriptors)
    control.sendmsg([said], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, handed)])
    for fd in descriptors:
        posix.close(fd)
    told = control.recv(ENDS, _socket.MSG_WAITALL)
    if told[:1] == b"k":
        posix.kill(posix.getpid(), int(told[1:]))
    posix._exit(int(told[1:]) if told else 0)


main()
