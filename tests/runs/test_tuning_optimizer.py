"""The optimizer that `finetune` makes."""

import types

import keras
import numpy as np
import pytest
from helpers.small_encoder import CONFIG

from tfbert.models.classifier import BertClassifier
from tfbert.models.encoder import BertEncoder
from tfbert.runs.command_options import FinetuneConfig
from tfbert.runs.tuning_optimizer import tuning_optimizer, usual_rate
from tfbert.tasks.known_tasks import TASKS


def config_of(**options):
    return FinetuneConfig(task="sst2", data="SST-2", model="embedded", output="run", **options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 5e-5),
        ({"global_batch_size": 512}, 5e-5),
        ({"optimizer": "lamb"}, 1e-3),
        ({"optimizer": "lamb", "global_batch_size": 128}, 2e-3),
        ({"optimizer": "lamb", "tokens_per_batch": 4096}, 2.8e-3),  # 1e-3 sqrt(256 / 32)
    ],
)
def test_usual_rate(options, expected):
    batches = types.SimpleNamespace(texts=range(2560), steps_per_epoch=10)  # 256 a batch
    assert usual_rate(config_of(**options), TASKS["sst2"], batches) == expected


def test_lamb_adapts_to_the_encoder_and_not_to_the_head():
    """At the first update Adam's is the gradient's sign, beside the decay."""
    keras.utils.set_random_seed(1)
    model = BertClassifier(BertEncoder(**CONFIG), 2)
    rate, decay = 0.01, 0.1
    config = config_of(optimizer="lamb", weight_decay=decay, max_grad_norm=0.0)
    optimizer = tuning_optimizer(config, model, rate)
    random = np.random.default_rng(1)
    variables = model.trainable_variables
    gradients = [np.sign(random.normal(size=v.shape)).astype("float32") for v in variables]
    before = [np.array(v, "float64") for v in variables]
    optimizer.apply(gradients, variables)

    adapted = 0
    for variable, old, gradient in zip(variables, before, gradients, strict=True):
        step = np.array(variable, "float64") - old
        if variable.path.endswith("logits/kernel"):
            np.testing.assert_allclose(step, -rate * (gradient + decay * old), rtol=1e-4)
        elif variable.path.endswith(("bias", "beta", "gamma")):
            np.testing.assert_allclose(step, -rate * gradient, rtol=1e-4)
        else:
            share = np.linalg.norm(step) / np.linalg.norm(old)
            np.testing.assert_allclose(share, rate, rtol=1e-4)
            adapted += 1
    assert adapted > 6
