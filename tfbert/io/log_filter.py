"""Copies standard input to standard error without the log lines of TensorFlow's and XLA's C++ code.

A program of its own, see `tfbert.io.terminal`: as a thread it would end with a process that
crashes, and the crash's last words would be lost. It imports nothing of the package.
"""

import contextlib
import os
import re
import select
import signal

# `I0000 00:00:1795774711.258001   12923 device_compiler.h:196] Compiled cluster using XLA!` of
# absl, `2026-11-27 10:29:07.854924: I external/xla/port.cc:153] ...` of TensorFlow. A fatal line
# (F) is not among them: the process ends after it.
_NOISE = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:[\d.]+ +\d+ \S+:\d+\] "
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] \S+:\d+\] "
    rb"|WARNING: All log messages before absl::InitializeLog\(\)"
    # Further lines of such messages.
    rb"|To enable the following instructions: "
    rb"|\*{8,}\r?$|\[Compiling module "
)
_FIRST_BYTES = re.compile(rb"[IWE]\d|\d{4}-\d\d-|WARNING: All|To enable|\*{8}|\[Compiling")
_WAIT_SECONDS = 0.2  # for the rest of a line


def is_noise(line: bytes) -> bool:
    """Whether a line is a message of a library's C++ code that is no reason to stop."""
    return _NOISE.match(line) is not None


def copy(source: int, target: int) -> None:
    """Copies from one file descriptor to another, to the end of the first, without the noise.

    What has no line end, such as a question or a progress bar, is copied as soon as nothing
    follows.
    """
    rest = b""
    while True:
        wait = _WAIT_SECONDS if rest and not _FIRST_BYTES.match(rest) else None
        if not select.select([source], [], [], wait)[0]:
            _write(target, rest)
            rest = b""
            continue
        data = os.read(source, 1 << 16)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        _write(target, b"".join(line + b"\n" for line in lines if not is_noise(line)))
    if not is_noise(rest):
        _write(target, rest)


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]


if __name__ == "__main__":
    # A job's end is announced to all of its processes, and the command has words to say after it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # who read standard error has gone
        copy(0, 2)
