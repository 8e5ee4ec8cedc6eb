"""What a command writes to the terminal: its own lines, and none of the libraries below it.

C++ code of TensorFlow and XLA writes to file descriptor 2, some of it whatever its log level says:
into the middle of a progress bar. A command therefore puts a pipe in the place of that descriptor.
`tfbert.io.log_filter`, a process of its own, copies what comes to where standard error led, without
the log lines; what a crash or a child process writes is still seen. Python's own `sys.stderr`, with
the bars, leads there directly.
"""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

from tfbert.io import log_filter

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # TensorFlow reads it when it is imported


class LineHandler(logging.StreamHandler):
    """Writes log lines to what is standard error now, above a progress bar where one is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("tfbert: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line."""
        self.stream = sys.stderr  # a program may have changed it since the last line
        if "tqdm" not in sys.modules:
            super().emit(record)
            return
        from tqdm import tqdm

        try:
            tqdm.write(self.format(record), file=self.stream)
            self.flush()
        except Exception:  # noqa: BLE001: as in `logging`
            self.handleError(record)


def log_to_standard_error() -> None:
    """Shows the package's own messages."""
    logger = logging.getLogger("tfbert")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(LineHandler())


def open_standard_error() -> None:
    """Opens standard error where it is closed (`2>&-`), as the system's /dev/null.

    Else the next file that is opened would have its descriptor, and libraries would write into it.
    """
    if sys.stderr is None:
        null = os.open(os.devnull, os.O_WRONLY)
        if null != 2:
            os.dup2(null, 2)
            os.close(null)
        sys.stderr = open(2, "w", 1, "utf-8", closefd=False)  # noqa: SIM115


def silence_libraries() -> None:
    """Keeps the libraries' messages from standard error for the rest of this process.

    Who sets TF_CPP_MIN_LOG_LEVEL to 0 or 1 sees them, and who asks Python for warnings
    (PYTHONWARNINGS, -W) sees those. To be called before TensorFlow is imported.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for name in ("tensorflow", "absl", "h5py", "jax"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if os.environ.get(LOG_LEVEL) in ("0", "1"):
        return
    os.environ[LOG_LEVEL] = "3"
    if os.getpid() == 1:  # of a container, which ends with it: a crash's last words would be lost
        return
    terminal = os.dup(2)
    source, pipe = os.pipe()
    try:
        # In a session of its own, or Ctrl-C would end it before the command has spoken. It ends
        # with the last process that could write to the pipe.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", log_filter.__file__],
            stdin=source,
            stdout=subprocess.DEVNULL,
            stderr=terminal,
            cwd=Path(sys.executable).anchor or None,
            start_new_session=True,
        )
    except OSError:
        os.close(pipe)
        os.close(terminal)
        return
    finally:
        os.close(source)
    process.returncode = 0  # nobody waits for it
    os.dup2(pipe, 2)
    os.close(pipe)
    before = sys.stderr
    sys.stderr = open(  # noqa: SIM115
        terminal, "w", 1, before.encoding, before.errors, closefd=False
    )
