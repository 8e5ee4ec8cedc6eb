"""What a benchmark ran on."""

import os
import platform
import re
from pathlib import Path

import tensorflow as tf


def hardware():
    """In words: cores and their kind, and GPUs."""
    cpus = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", cpus.read_text() if cpus.exists() else "", re.M)
    parts = [f"{os.cpu_count()} cores ({found[1] if found else platform.machine()})"]
    for device in tf.config.list_physical_devices("GPU"):
        parts.append(tf.config.experimental.get_device_details(device).get("device_name", "a GPU"))
    return ", ".join(parts)
