"""SIGTERM, by which machines are taken away: training is asked to save and to end."""

import signal
import threading

from tfbert.errors import TfbertError


class Preempted(TfbertError):
    """The run was told to end (SIGTERM) and has saved. Exit status 75: start it again to go on.

    75 is EX_TEMPFAIL of BSD's sysexits.h; a run killed before it could save ends with 143.
    """

    exit_status = 75


class TerminationWatch:
    """While in `with`: notes the first SIGTERM; a second one ends the process as ever.

    Outside of the main thread, where Python takes no signals, it notes none.
    """

    def __init__(self):
        self.requested = False
        self._previous = None
        self._installed = False

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
            self._installed = True
        return self

    def __exit__(self, *error):
        self._restore()

    def _note(self, number, frame):
        self.requested = True
        self._restore()

    def _restore(self):
        if self._installed:
            signal.signal(signal.SIGTERM, self._previous or signal.SIG_DFL)
            self._installed = False
