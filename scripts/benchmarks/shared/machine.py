"""What a benchmark runs on: its description, memory, and measurements in a process of their own."""

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any


def hardware() -> str:
    """In words: cores and their kind, and GPUs."""
    import tensorflow as tf

    cpus = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", cpus.read_text() if cpus.exists() else "", re.M)
    parts = [f"{os.cpu_count()} cores ({found[1] if found else platform.machine()})"]
    for device in tf.config.list_physical_devices("GPU"):
        parts.append(tf.config.experimental.get_device_details(device).get("device_name", "a GPU"))
    return ", ".join(parts)


def cores() -> str:
    """In few words: the number of cores and their architecture."""
    return f"{os.cpu_count()} cores, {platform.machine()}"


def versions(*names: str) -> str:
    """`TensorFlow 2.20.0, Keras 3.15.1, ...` of imported modules, by their names in words."""
    modules = ((name, sys.modules[name.lower().replace("kerashub", "keras_hub")]) for name in names)
    return ", ".join(f"{name} {module.__version__}" for name, module in modules)


def resident_bytes() -> int:
    """Memory that this process has now."""
    return _status("VmRSS")


def peak_bytes() -> int:
    """The most memory that this process had; `getrusage` would say the parent's if larger."""
    return _status("VmHWM")


def _status(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split(f"{name}:")[1].split()[0])


def bytes_of(pid: int) -> int:
    """Bytes that a process and its descendants hold, shared pages divided among them."""
    total, pids = 0, [str(pid)]
    while pids:
        process = pids.pop()
        try:
            pids += Path(f"/proc/{process}/task/{process}/children").read_text().split()
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has ended meanwhile
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return total


def tfbert(*words: Any) -> None:
    """Runs a command of the package."""
    subprocess.run([sys.executable, "-m", "tfbert", *map(str, words)], check=True)


def answer_of(*words: Any, **variables: str) -> Any:
    """Runs Python on these words: the last line that it prints, which is JSON.

    Args:
        words: Arguments of Python.
        variables: Of its environment, in addition to those here.
    """
    command = [sys.executable, *map(str, words)]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])
