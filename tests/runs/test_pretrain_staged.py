"""Pre-training of a model that grows: what is trained, what stays, and that it can be resumed."""

from pathlib import Path

import keras_hub
import numpy as np
import pytest
import yaml
from helpers.pretraining_run import QUICK, scalars, stopped

from tfbert.models.encoder import BertEncoder
from tfbert.models.sources import load_encoder
from tfbert.optimizers.loss_scale import LossScaleOptimizer
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.runs.outputs.pretrain_callbacks import PretrainingCurves
from tfbert.runs.pretrain import pretrain

PHASE = {"sequence_length": 16, "global_batch_size": 8, "steps": 6, "learning_rate": 0.01}
SECOND_LENGTH = {"sequence_length": 24, "global_batch_size": 4}
MSLT = {
    "phases": [PHASE],
    "staging": "mslt",
    "stage_shares": [0.34, 0.33, 0.33],  # 2 updates each
    "num_layers": 2,
    "dropout": 0.1,
    "optimizer": "adamw",
    "checkpoint_steps": 1,
}


def weights_of(model):
    return {v.path: np.array(v) for v in model.variables if "seed" not in v.path}


def changed(before, after):
    """First parts of the paths of what is another number now, or new."""
    return {
        path.split("/")[0]
        for path, value in after.items()
        if path not in before or not np.array_equal(value, before[path])
    }


HEADS = {"pooled_dense", "mlm_head", "nsp_head"}
EMBEDDINGS = {"token_embedding", "position_embedding", "segment_embedding", "embeddings_layer_norm"}


def _layers(*numbers):
    return {f"transformer_layer_{number}" for number in numbers}


@pytest.fixture(scope="module")
def mslt(records, no_measurement, tmp_path_factory):
    """(result, weights where each stage begins and where the last ends) of a run in stages."""
    stages = []
    original = PretrainingCurves.on_train_begin

    def wrapper(curves, logs=None):
        original(curves, logs)
        stages.append(weights_of(curves.model))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PretrainingCurves, "on_train_begin", wrapper)
        output = str(tmp_path_factory.mktemp("mslt") / "run")
        result = pretrain(PretrainConfig(**{**QUICK, **MSLT}, data=records, output=output))
    return result, [*stages, weights_of(result.model)]


def test_each_stage_trains_its_part(mslt):
    _, (first, second, third, last) = mslt
    # One layer and the embeddings; the second layer, a copy of it, and the heads; all of it.
    assert changed(first, second) == {*EMBEDDINGS, *HEADS, *_layers(0, 1)}
    for path, value in second.items():
        if path.startswith("transformer_layer_1"):
            np.testing.assert_array_equal(value, second[path.replace("layer_1", "layer_0", 1)])
    assert changed(second, third) == {*HEADS, *_layers(1)}
    assert changed(third, last) == {*EMBEDDINGS, *HEADS, *_layers(0, 1)}


def test_the_run_is_like_any_other(mslt):
    result, _ = mslt
    run = Path(result.run_directory)
    assert result.metrics["updates"] == 6
    assert type(result.model.backbone) is BertEncoder
    stock = keras_hub.models.Backbone.from_preset(str(run / "model"))
    for variable, trained in zip(stock.weights, result.model.backbone.weights, strict=True):
        np.testing.assert_array_equal(variable, trained)
    assert load_encoder(str(run), "float32").backbone.num_layers == 2
    curves = scalars(run / "logs" / "train")
    assert curves["layers"] == {2: 1, 4: 2, 6: 2}
    assert curves["frozen_layers"] == {2: 0, 4: 1, 6: 0}
    record = yaml.safe_load((run / "config.yaml").read_text())
    assert [phase["layers"] for phase in record["resolved"]["phases"]] == [1, 2, 2]


def check_same_end(one, two):
    for a, b in zip(one.model.weights, two.model.weights, strict=True):
        np.testing.assert_array_equal(a, b, a.path)
    assert one.history == two.history


@pytest.mark.slow
def test_a_run_that_is_stopped_in_a_stage_goes_on_in_it(mslt, pretrain_config):
    config = pretrain_config(**MSLT)
    with stopped(PretrainingCurves, 3):
        pretrain(config)
    check_same_end(pretrain(config), mslt[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        # New weights are random: they must not depend on what was drawn before.
        {"staging": "stack", "stages": 2, "growth": "random", "growth_slots": "zeros"},
        {"staging": "one_shot", "num_layers": 4},
    ],
)
def test_a_run_that_is_stopped_between_stages(pretrain_config, tmp_path, options):
    options = {"phases": [PHASE], "joint_share": 0.5, "num_layers": 2, "dropout": 0.1} | options
    whole = pretrain(pretrain_config(**options, output=str(tmp_path / "whole")))
    config = pretrain_config(**options, checkpoint_steps=1)
    for update in (2, 3, 5):  # in the first stage, at its end, and in the second
        with stopped(PretrainingCurves, update):
            pretrain(config)
    check_same_end(pretrain(config), whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"precision": "float16"},
        {"precision": "float16", "optimizer": "lamb"},
        {"precision": "bfloat16", "optimizer": "lamb", "rematerialize": True},
        {"optimizer": "lamb", "device_tokens": 32, "steps_per_execution": 2},
        {"optimizer": "lamb", "growth_slots": "reset", "stage_schedule": "each"},
        {"phases": [{**PHASE, "steps": 3}, {**SECOND_LENGTH, "steps": 3}]},
    ],
)
def test_stages_in_every_precision_at_both_lengths_and_with_accumulation(pretrain_config, options):
    result = pretrain(pretrain_config(**{**MSLT, **options}))
    assert np.isfinite(result.metrics["val_loss"])
    assert result.model.backbone.num_layers == 2
    assert int(np.array(result.model.optimizer.iterations)) == 6


@pytest.mark.slow
def test_two_replicas_grow_as_one_device(pretrain_config, two_replicas):
    one, two = (
        pretrain(pretrain_config(**{**MSLT, **options}, overwrite=True)).model
        for options in ({"dropout": 0.0}, {"dropout": 0.0, "replicas": 2})
    )
    for a, b in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), atol=1e-5, err_msg=a.path)


@pytest.mark.slow
def test_a_model_to_start_from_grows(pretrain_config):
    phases = [{**PHASE, "layers": 4, "freeze_layers": 2, "growth": "top", "steps": 1}]
    result = pretrain(pretrain_config(init="embedded", phases=phases))
    assert result.model.backbone.num_layers == 4
    embedded = weights_of(load_encoder("embedded", "float32").backbone)
    assert changed(embedded, weights_of(result.model.backbone)) == {"pooled_dense", *_layers(2, 3)}


@pytest.mark.slow
def test_skipped_updates_count_where_a_stage_begins(pretrain_config, monkeypatch):
    """A scale that overflows float16: without the count the schedule would lag behind."""
    original = LossScaleOptimizer.__init__

    def huge(self, inner_optimizer, *args, **kwargs):
        original(self, inner_optimizer, initial_scale=2.0**120)

    monkeypatch.setattr(LossScaleOptimizer, "__init__", huge)
    result = pretrain(pretrain_config(**{**MSLT, "precision": "float16"}))
    optimizer = result.model.optimizer
    assert int(np.array(optimizer.skipped_steps)) > 2
    # The stages of 2 updates before are counted whole, the last one by what was not skipped.
    assert 4 <= int(np.array(optimizer.iterations)) < 6
