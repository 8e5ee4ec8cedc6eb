"""The script as a process, with a stand-in for gcloud on its PATH."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = ["--", "finetune", "--task", "sst2", "--output", "gs://bucket/run"]


class Cloud:
    """A cloud with room for one TPU, and a laptop.

    Args:
        folder: Where both keep their files.
    """

    def __init__(self, folder):
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "FAKE_GCLOUD": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "TFBERT_CLOUD_POLL_SECONDS": "0.05",
        }
        (folder / "bin").mkdir()
        gcloud = folder / "bin" / "gcloud"
        program = shlex.join(
            [sys.executable, "-S", "-E", str(Path(__file__).with_name("fake_gcloud.py"))]
        )
        gcloud.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        gcloud.chmod(0o755)
        self.happens()

    def happens(self, **scenario):
        """Says what the calls of gcloud do; see `fake_gcloud.py`."""
        (self.folder / "scenario.json").write_text(json.dumps(scenario))

    def script(self, action, *arguments):
        """Runs the script: an object of `status`, `output` (the command's own) and `said`."""
        done = subprocess.run(
            [sys.executable, REPOSITORY / "scripts" / "cloud_tpu.py", action, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=50,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return SimpleNamespace(status=done.returncode, output=done.stdout, said=done.stderr)

    def run(self, *options, command=COMMAND):
        """The script's `run` of a spot v5e."""
        request = ["--accelerator-type", "v5litepod-4", "--zone", "us-west4-a", "--yes"]
        return self.script("run", *request, *options, *command)

    def calls(self, *words):
        """The calls of gcloud in which all of these words stand."""
        path = self.folder / "calls"
        calls = (
            [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        )
        return [call for call in calls if all(word in " ".join(call) for word in words)]

    @property
    def tpu(self):
        """State of the TPU, None if there is none."""
        node = self.folder / "node"
        return node.read_text().strip() if node.exists() else None

    @property
    def remembered(self):
        """Whether the laptop remembers a TPU."""
        return (self.folder / "config" / "tfbert" / "cloud" / "tfbert.json").exists()


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path)


@pytest.fixture(scope="session", autouse=True)
def two_cpu_devices():
    """Nothing here uses TensorFlow, so none is started."""
