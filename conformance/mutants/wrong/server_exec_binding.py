"""What is broken in :mod:`backchannel_server.exec_binding`."""

from __future__ import annotations

from backchannel_server.exec_binding import Launcher

from . import rewrite, wrong


@wrong("BC-EXEC-17", role="parent", kills=["test_variables_of_a_program"])
def stray_variables_passed_on() -> None:
    rewrite(Launcher.start, " if not name.startswith(PREFIX)}", "}")


@wrong("BC-EXEC-16", role="parent", kills=["test_signals_of_a_program"])
def signals_left_blocked() -> None:
    rewrite(Launcher.start, "setsigmask=(),", "setsigmask=(signal.SIGUSR1,),")
