import os
import subprocess
import sys
import time

import pytest
from helpers.processes import ROOT

from tfbert.cli import main
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


SILENCED = "import os, signal, subprocess, sys\nfrom tfbert.io.terminal import *\n"
SILENCED += "open_standard_error(); silence_libraries()\n"
ENDS = {
    "at once": "os.write(2, b'last'); os._exit(3)",
    "killed": "os.write(2, b'last'); os.kill(os.getpid(), signal.SIGKILL)",
    "after SIGTERM to all": (
        "import time; time.sleep(0.5)\n"  # for the filter to start
        "children = open(f'/proc/self/task/{os.getpid()}/children').read().split()\n"
        "[os.kill(int(child), signal.SIGTERM) for child in children]\n"
        "time.sleep(0.1); assert len(children) == 1; os.write(2, b'last'); os._exit(3)"
    ),
    "before its child": ("subprocess.Popen(['sh', '-c', 'sleep 0.3; echo last >&2']); os._exit(3)"),
}


def run(code, shell='exec "$@"'):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = ["bash", "-c", shell, "bash", sys.executable, "-c", SILENCED + code]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("code", ENDS.values(), ids=list(ENDS))
def test_the_last_words_are_seen_however_the_process_ends(code):
    done = run(code)
    assert done.returncode != 0
    assert done.stderr.strip() == "last"


def test_standard_error_that_leads_to_a_file(tmp_path):
    path = tmp_path / "log"
    done = run("print('a', file=sys.stderr); os.write(2, b'b\\n')", f'exec "$@" 2>{path}')
    assert done.returncode == 0
    for _ in range(100):  # the filter may end a moment later
        if path.read_text() == "a\nb\n":
            break
        time.sleep(0.05)
    assert path.read_text() == "a\nb\n"


def test_standard_error_that_is_closed_is_no_file_s(tmp_path):
    path = tmp_path / "mine"
    code = f"""
with open({str(path)!r}, "w") as file:
    os.write(2, b"of a library")
    print("of Python", file=sys.stderr)
    file.write("own")
"""
    assert run(code, 'exec "$@" 2>&-').returncode == 0
    assert path.read_text() == "own"


def test_only_a_command_s_own_process_is_filtered(capsys):
    """Not a notebook, or a test, that calls `main`."""
    before = sys.stderr, os.fstat(2)
    assert main(["status", "nowhere"]) == 2
    assert sys.stderr is before[0] and os.path.samestat(os.fstat(2), before[1])
