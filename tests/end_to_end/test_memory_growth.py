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
    """The first two load libraries and fill pools of memory; the size then swings by 50 MB.

    A `finetune` of the embedded model left 60 MB, with 21 gradients of its layers: graphs and
    weights. Four of them are over the bound, far.
    """
    sizes, entries = [], []
    for number in range(6):
        output = str(tmp_path / f"run{number}")
        if command == "finetune":
            finetune(config(output=output, model="embedded", global_batch_size=16))
        else:
            pretrain(pretrain_config(output=output))
        sizes.append(resident_bytes() / 2**20)
        entries.append(len(registered_gradients()))
    assert entries[5] <= entries[1]
    assert sizes[5] - sizes[1] < 100, [round(size) for size in sizes]
