"""SIGTERM, sent before a machine is taken away: training then saves and stops."""

import signal
import threading
from types import FrameType
from typing import Any, Self

from tfbert.errors import TfbertError


class Preempted(TfbertError):
    """The run was told to stop (SIGTERM) and has saved. Exit status 75: start it again to continue.

    75 is EX_TEMPFAIL of BSD's sysexits.h; a run killed before it could save ends with 143.
    """

    exit_status = 75


class TerminationWatch:
    """Within `with`: notes the first SIGTERM; a second one ends the process as usual.

    Outside of the main thread, where Python takes no signals, it notes none.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None
        self._installed = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
            self._installed = True
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        if self._installed:
            signal.signal(signal.SIGTERM, self._previous or signal.SIG_DFL)
            self._installed = False
