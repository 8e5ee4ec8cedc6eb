import subprocess
import sys

import pytest

from tfbert.io.log_filter import is_noise

CODE = """
import os, sys
from tfbert.io.terminal import silence_libraries
silence_libraries()
os.write(2, b"I0000 00:00:1795774711.258001   12923 device_compiler.h:196] Compiled cluster\\n")
print("our line", file=sys.stderr)
os.write(2, b"F0000 00:00:1.5   1 x.cc:1] Check failed\\n")
os.write(2, b"no line end")
os.abort()
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"I0000 00:00:1795774711.258001   12923 device_compiler.h:196] Compiled cluster", True),
        (b"2026-11-27 10:29:07.854924: E external/local_xla/cuda.cc:31] cuInit", True),
        (b"WARNING: All log messages before absl::InitializeLog() is called are written", True),
        (b"F0000 00:00:1795774711.258001   12923 x.cc:1] Check failed", False),
        (b"terminate called after throwing an instance of 'std::bad_alloc'", False),
        (b"Traceback (most recent call last):", False),
    ],
)
def test_only_log_lines_are_noise(line, expected):
    assert is_noise(line) == expected


def test_a_crash_is_still_seen():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode != 0
    assert "Compiled cluster" not in done.stderr
    for words in ("our line", "Check failed", "no line end"):
        assert words in done.stderr
