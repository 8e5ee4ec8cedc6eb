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

    A second SIGTERM ends the process as usual, and so does a second Ctrl-C, at once; in an
    interactive Python, such as a notebook, it raises KeyboardInterrupt as usual.

    Outside of the main thread, where Python takes no signals, it notes none.
    """

    def __init__(self) -> None:
        self.requested = False
        self.by_user = False  # by Ctrl-C
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number in list(self._previous):
            self._restore(number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        previous = self._restore(number)
        if number == signal.SIGINT:
            self.by_user = True
            if previous is signal.default_int_handler and not hasattr(sys, "ps1"):
                signal.signal(number, signal.SIG_DFL)
            log.info("stopping after this update, to save; Ctrl-C again leaves at once")

    def _restore(self, number: int) -> Any:
        previous = self._previous.pop(number)
        signal.signal(number, previous or signal.SIG_DFL)
        return previous
