"""SIGTERM, sent before a machine is taken away, and Ctrl-C: training then saves and stops."""

import logging
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self

from tfbert.errors import TfbertError

log = logging.getLogger("tfbert")


class Preempted(TfbertError):
    """The run was told to stop (SIGTERM) and has saved. Exit status 75: start it again to continue.

    75 is EX_TEMPFAIL of BSD's sysexits.h; a run killed before it could save ends with 143.
    """

    exit_status = 75


class Stopped(KeyboardInterrupt):
    """The run was stopped by Ctrl-C and has saved. A command then ends with status 130."""


class TerminationWatch:
    """Within `with`: notes the first SIGTERM and the first Ctrl-C (SIGINT).

    A second SIGTERM does what it did before, and so does a second Ctrl-C, except that it ends the
    process at once where Python would raise KeyboardInterrupt and is not interactive, as a notebook
    is. Afterwards the signals do what they did before.

    Outside of the main thread, where Python takes no signals, it notes none.
    """

    def __init__(self) -> None:
        self.requested = False
        self.by_user = False  # by Ctrl-C
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as in the background of `sh`
                    self._previous[number] = signal.signal(number, self._note) or signal.SIG_DFL
        return self

    def __exit__(self, *error: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        following = self._previous[number]
        if following is signal.default_int_handler and not hasattr(sys, "ps1"):
            following = signal.SIG_DFL
        signal.signal(number, following)
        if number == signal.SIGINT:
            self.by_user = True
            log.info("stopping after this update, to save; Ctrl-C again leaves at once")
