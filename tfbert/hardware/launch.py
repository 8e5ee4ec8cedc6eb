"""`tfbert launch`: several workers of one training run on this machine, each with its TF_CONFIG."""

import glob
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import IO

from tfbert.errors import InputError, TfbertError

_GRACE_SECONDS = 30.0  # for a checkpoint, after SIGTERM


def launch(command: Sequence[str], workers: int) -> None:
    """Runs a command once for each worker, with the TF_CONFIG of that worker.

    Worker 0, the chief, has this process's standard streams; what the others print goes to
    standard error, after their number. When one fails, the others are stopped.

    Raises:
        InputError: If the command cannot be started, or the GPUs do not divide evenly.
        TfbertError: If a worker failed; its exit status is the error's.
    """
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(workers)]
    gpus = _gpus_of_workers(workers)
    processes: list[subprocess.Popen[bytes]] = []
    readers = []

    def stop(number: int, frame: FrameType | None) -> None:
        for process in processes:
            process.send_signal(number)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        for index in range(workers):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment = {**os.environ, "TF_CONFIG": json.dumps(task), **gpus[index]}
            process = _start(command, environment, is_chief=index == 0)
            processes.append(process)
            if index:
                reader = threading.Thread(
                    target=_copy_output, args=(process.stdout, index), daemon=True
                )
                reader.start()
                readers.append(reader)
        status = _wait(processes)
    except KeyboardInterrupt:
        # On a terminal it reached the workers, too: they save. A second one ends them.
        _stop_all(processes)
        raise
    finally:
        _stop_all(processes)
        signal.signal(signal.SIGTERM, previous)
        for reader in readers:
            reader.join(timeout=5)
    if status:
        index = next(i for i, process in enumerate(processes) if process.returncode == status)
        error = TfbertError(f"worker {index} of {workers} ended with status {status}")
        error.exit_status = status if status > 0 else 128 - status
        raise error


def _start(
    command: Sequence[str], environment: dict[str, str], is_chief: bool
) -> subprocess.Popen[bytes]:
    pipe = None if is_chief else subprocess.PIPE
    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=None if is_chief else subprocess.DEVNULL,
            stdout=pipe,
            stderr=None if is_chief else subprocess.STDOUT,
        )
    except OSError as error:
        raise InputError(f"{command[0]}: cannot be started: {error.strerror}") from error


def _copy_output(stream: IO[bytes], index: int) -> None:
    """Copies what worker `index` prints, as long as it prints."""
    for line in stream:
        sys.stderr.write(f"[worker {index}] {line.decode(errors='replace')}")


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    """The exit status of the first worker that fails; 0 when all have succeeded."""
    while True:
        statuses = [process.poll() for process in processes]
        failed = [status for status in statuses if status]
        if failed or None not in statuses:
            return failed[0] if failed else 0
        time.sleep(0.1)


def _stop_all(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as reason:
            process.kill()
            process.wait()
            if isinstance(reason, KeyboardInterrupt):
                deadline = 0.0


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _gpus_of_workers(workers: int) -> list[dict[str, str]]:
    """For each worker the environment that shows it its share of the GPUs; empty without any."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        names = [path.removeprefix("/dev/nvidia") for path in glob.glob("/dev/nvidia[0-9]*")]
        gpus = sorted(names, key=int)
    else:
        gpus = [name for name in visible.split(",") if name and name != "-1"]
    if not gpus:
        return [{}] * workers
    if len(gpus) % workers:
        raise InputError(f"--workers {workers}: {len(gpus)} GPU(s) do not divide evenly")
    share = len(gpus) // workers
    return [
        {"CUDA_VISIBLE_DEVICES": ",".join(gpus[index * share : (index + 1) * share])}
        for index in range(workers)
    ]
