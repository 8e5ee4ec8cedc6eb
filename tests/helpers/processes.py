"""Python processes that tests start beside themselves."""

import os
import pathlib
import socket
import subprocess
import sys

TESTS = pathlib.Path(__file__).parents[1]
ROOT = TESTS.parent


def start(command, **environment):
    """A Python process that imports this checkout's package and the tests' helpers."""
    path = os.pathsep.join([str(ROOT), str(TESTS), os.environ.get("PYTHONPATH", "")]).strip(
        os.pathsep
    )
    return subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": path, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, seconds):
    """The process's standard output; its errors are shown where it fails."""
    try:
        output, errors = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert process.returncode == 0, output[-4000:] + errors[-4000:]
    return output


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
