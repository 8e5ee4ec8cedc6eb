"""What a process keeps of runs that are over."""

import gc
import os

import pytest

from tfbert.gradients import registered_gradients
from tfbert.runs.finetune import finetune
from tfbert.runs.pretrain import pretrain


def resident_bytes():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["finetune", "pretrain"])
def test_six_runs_in_one_process(command, config, pretrain_config, tmp_path):
    """Each `finetune` left 55 MB: a gradient of every layer, and with it graphs and weights.

    After two runs, which load libraries and fill pools of memory, four more may take 40 MB: 10 MB a
    run are the compiled steps' own, which TensorFlow frees late.
    """
    sizes, entries = [], []
    for number in range(6):
        output = str(tmp_path / f"run{number}")
        if command == "finetune":
            finetune(config(output=output))
        else:
            pretrain(pretrain_config(output=output))
        sizes.append(resident_bytes() / 2**20)
        entries.append(len(registered_gradients()))
    assert entries[5] <= entries[1]
    assert sizes[5] - sizes[1] < 40, [round(size) for size in sizes]
