"""The package on the TPU's machine, and one tfbert command there that needs no connection."""

import queue
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

from tfbert.cloud import gcloud as cloud
from tfbert.cloud.gcloud import say
from tfbert.hardware.accelerators import parse_accelerator

REPOSITORY = Path(__file__).resolve().parents[2]
_PACKAGE = (
    "tfbert",
    "scripts/setup_tpu_vm.sh",
    "scripts/tpu_job.sh",
    "requirements-tpu.txt",
    "requirements-tpu-no-deps.txt",
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
_ARCHIVE = "tfbert-package.tar"
_ON_VM = "tfbert-package"  # folder in the home directory there
_ATTEMPTS = 5  # the first connections to a new machine may fail
_KEEP_ALIVE = ("--", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4")
# The last line of `tpu_job.sh follow`; no program prints a record separator.
_MARK = re.compile(rb"\x1etfbert-job: ([^\n]*)\n?$")


def ssh(gcloud, state, command):
    """The arguments of gcloud for a command on the TPU's first machine.

    Args:
        gcloud: `Gcloud`.
        state: `State`.
        command: List of strings.
    """
    return [
        *gcloud.tpus("tpu-vm", "ssh", state.name),
        "--worker=0",
        "--quiet",
        f"--command={shlex.join(command)}",
        *_KEEP_ALIVE,
    ]


def set_up(gcloud, state):
    """Copies the package to the TPU's first machine and installs what it needs.

    On a pod slice the other machines need nothing: the program runs on the first one.
    """
    say("copying the package and installing it (5 to 10 minutes)")
    with tempfile.TemporaryDirectory(prefix="tfbert-") as folder:
        archive = Path(folder) / _ARCHIVE
        if not gcloud.dry_run:
            pack(archive)
        _persist(
            gcloud,
            [
                *gcloud.tpus("tpu-vm", "scp", str(archive), f"{state.name}:{_ARCHIVE}"),
                "--worker=0",
                "--quiet",
            ],
        )
    install = (
        f"rm -rf {_ON_VM} && mkdir {_ON_VM} && tar -xf {_ARCHIVE} -C {_ON_VM} && "
        f"bash {_ON_VM}/scripts/setup_tpu_vm.sh"
    )
    _persist(gcloud, ssh(gcloud, state, ["bash", "-c", install]))


def pack(archive):
    """Writes what the TPU's machine needs of this checkout into a tar file."""
    with tarfile.open(archive, "w") as file:
        for name in _PACKAGE:
            file.add(REPOSITORY / name, name, filter=_without_caches)


def _without_caches(entry):
    return None if entry.name.endswith(("__pycache__", ".pyc")) else entry


def _persist(gcloud, arguments):
    """Runs a command that a bad connection may fail."""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(cloud.POLL_SECONDS)
        result = gcloud.call(arguments)
        if not result.status:
            return result.output
        say(f"attempt {attempt + 1} of {_ATTEMPTS} failed: {_last_line(result.errors)}")
    raise gcloud.explain(arguments, result)


def _last_line(text):
    return (text.strip().splitlines() or ["no reason given"])[-1]


def start(gcloud, state):
    """Starts the state's tfbert command; on a machine that runs one it changes nothing."""
    environment = []
    if parse_accelerator(state.accelerator_type).hosts > 1:
        # The workers of a pod slice run TensorFlow servers, which the first machine talks to.
        environment = [f"TPU_NAME={state.name}", "TPU_LOAD_LIBRARY=0"]
    command = ["env", *environment, "tfbert-venv/bin/tfbert", *state.command]
    _persist(
        gcloud, ssh(gcloud, state, ["bash", f"{_ON_VM}/scripts/tpu_job.sh", "start", *command])
    )


def job_status(gcloud, state):
    """What the command does: `none`, `running`, `ended STATUS`, `lost`, or None if unknown."""
    arguments = ssh(gcloud, state, ["bash", f"{_ON_VM}/scripts/tpu_job.sh", "status"])
    result = gcloud.call(arguments, assumed="\x1etfbert-job: running")
    return None if result.status else _status(result.output.encode())


def _status(text):
    mark = _MARK.search(text)
    return mark[1].decode() if mark else None


class Log:
    """The command's output, shown as it comes; each byte once, over any number of connections."""

    def __init__(self, gcloud, state):
        self._gcloud = gcloud
        self._state = state
        self._seen = 0

    def restart(self):
        """The command was started anew: its output begins again."""
        self._seen = 0

    def follow(self, look):
        """Shows the output until the command ends or the connection does.

        Args:
            look: Called every `POLL_SECONDS`; what it raises ends the connection.

        Returns:
            As `job_status`; None if the connection was lost.
        """
        command = ["bash", f"{_ON_VM}/scripts/tpu_job.sh", "follow", str(self._seen)]
        arguments = ssh(self._gcloud, self._state, command)
        if self._gcloud.dry_run:
            self._gcloud.call(arguments)
            return "ended 0"
        process = self._gcloud.start(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        pieces = queue.Queue()
        threading.Thread(target=_read, args=(process.stdout, pieces), daemon=True).start()
        try:
            return self._show(pieces, look)
        finally:
            cloud.stop(process)

    def _show(self, pieces, look):
        held = b""  # what may be the beginning of the mark
        next_look = time.monotonic() + cloud.POLL_SECONDS
        while True:
            try:
                piece = pieces.get(timeout=max(0.0, next_look - time.monotonic()))
            except queue.Empty:
                look()
                next_look = time.monotonic() + cloud.POLL_SECONDS
                continue
            if piece is None:
                return _status(held)
            held += piece
            cut = held.rfind(b"\x1e")
            shown = held if cut < 0 else held[:cut]
            self._print(shown)
            held = held[len(shown) :]

    def _print(self, text):
        self._seen += len(text)
        try:
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
        except OSError:
            return  # the terminal is gone; the command goes on


def _read(stream, pieces):
    while piece := stream.read(1 << 16):
        pieces.put(piece)
    pieces.put(None)


def fetch(gcloud, source, target):
    """Copies a folder from gs:// to a local one."""
    gcloud.check(["storage", "rsync", "--recursive", source, target])
