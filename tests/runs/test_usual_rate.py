"""The rate that `finetune` takes where none is given."""

import types

import pytest

from tfbert.runs.command_options import FinetuneConfig
from tfbert.runs.finetune import usual_rate
from tfbert.tasks.known_tasks import TASKS


def config_of(**options):
    return FinetuneConfig(task="sst2", data="SST-2", model="embedded", output="run", **options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 5e-5),
        ({"global_batch_size": 512}, 5e-5),
        ({"optimizer": "lamb"}, 2.5e-4),
        ({"optimizer": "lamb", "global_batch_size": 128}, 5e-4),
        ({"optimizer": "lamb", "tokens_per_batch": 4096}, 7.1e-4),  # 2.5e-4 sqrt(256 / 32)
    ],
)
def test_usual_rate(options, expected):
    batches = types.SimpleNamespace(texts=range(2560), steps_per_epoch=10)  # 256 a batch
    assert usual_rate(config_of(**options), TASKS["sst2"], batches) == expected
