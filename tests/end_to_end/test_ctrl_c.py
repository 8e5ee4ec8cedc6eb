"""Ctrl-C in the middle of `tfbert finetune`, as a process of its own."""

import json
import signal
import time

import numpy as np
import pytest
from helpers.processes import finish, start

from tfbert.models.trained_model import load_model
from tfbert.runs.outputs.status import read_status

WORDS = ["-m", "tfbert", "finetune", "--task", "embedded", "--train-examples", "400"]
WORDS += ["--epochs", "20", "--precision", "float32", "--no-progress", "--output"]
# As a terminal's shell starts it, whatever the tests' own process ignores.
PLAIN = "import runpy, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); "
PLAIN += "runpy.run_module('tfbert', run_name='__main__', alter_sys=True)"


@pytest.mark.slow
def test_the_same_command_goes_on_to_the_same_end(tmp_path):
    finish(start([*WORDS, str(tmp_path / "whole")]), 300)
    run = tmp_path / "run"
    process = start(["-c", PLAIN, *WORDS[2:], str(run)])
    try:
        while not (run / "status.json").exists() or read_status(run).get("step", 0) < 3:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "the same command goes on from there" in errors.splitlines()[-1]
    assert read_status(run)["phase"] == "stopped"
    step = read_status(run)["checkpoint"]["step"]
    assert 3 <= step < 260
    finish(start([*WORDS, str(run)]), 300)
    runs = (run, tmp_path / "whole")
    one, two = (json.loads((path / "metrics.json").read_text()) for path in runs)
    assert {**one, "seconds": 0} == {**two, "seconds": 0}
    one, two = (load_model(str(path)).model.get_weights() for path in runs)
    for ours, theirs in zip(one, two, strict=True):
        np.testing.assert_array_equal(ours, theirs)
