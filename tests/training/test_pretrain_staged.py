"""Pre-training of a model that grows: what is trained, what stays, and that it can be resumed."""

import json
import logging
import os
import signal

import keras_hub
import numpy as np
import pytest
import yaml
from pretraining_run import scalars

from tfbert.models.sources import load_encoder
from tfbert.training.phases import batch_orders, make_phases
from tfbert.training.preemption import Preempted
from tfbert.training.pretrain import pretrain
from tfbert.training.pretrain_callbacks import PretrainingCurves

PHASE = {"sequence_length": 16, "global_batch_size": 8, "steps": 6, "learning_rate": 0.01}
MSLT = {"staging": "mslt", "stage_shares": [0.34, 0.33, 0.33], "num_layers": 2}


class Stages(list):
    """Layers, and weights by path, as they are where each phase begins and where the last ends."""

    def watch(self, monkeypatch):
        original = PretrainingCurves.on_train_begin

        def wrapper(curves, logs=None):
            original(curves, logs)
            self.append(weights_of(curves.model))

        monkeypatch.setattr(PretrainingCurves, "on_train_begin", wrapper)


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


def test_mslt_from_records_to_a_model_that_finetune_takes(
    pretrain_config, tmp_path, monkeypatch, caplog
):
    stages = Stages()
    stages.watch(monkeypatch)
    with caplog.at_level(logging.INFO, "tfbert"):
        result = pretrain(pretrain_config(phases=[PHASE], **MSLT, dropout=0.1))
    stages.append(weights_of(result.model))
    assert result.metrics["updates"] == 6
    # One layer and the embeddings; the second layer, a copy of it, and the heads; all of it.
    assert changed(stages[0], stages[1]) == {*EMBEDDINGS, *HEADS, *_layers(0, 1)}
    for path, value in stages[1].items():
        if path.startswith("transformer_layer_1"):
            below = path.replace("layer_1", "layer_0", 1)
            np.testing.assert_array_equal(value, stages[1][below])
    assert changed(stages[1], stages[2]) == {*HEADS, *_layers(1)}
    assert changed(stages[2], stages[3]) == {*EMBEDDINGS, *HEADS, *_layers(0, 1)}

    run = tmp_path / "run"
    assert type(result.model.backbone).__name__ == "BertEncoder"
    stock = keras_hub.models.Backbone.from_preset(str(run / "model"))
    for variable, trained in zip(stock.weights, result.model.backbone.weights, strict=True):
        np.testing.assert_array_equal(variable, trained)
    assert load_encoder(str(run), "float32").backbone.num_layers == 2

    curves = scalars(run / "logs" / "train")
    assert curves["layers"] == {2: 1, 4: 2, 6: 2}
    assert curves["frozen_layers"] == {2: 0, 4: 1, 6: 0}
    record = yaml.safe_load((run / "config.yaml").read_text())
    assert [phase["layers"] for phase in record["resolved"]["phases"]] == [1, 2, 2]
    assert "; 2 layers, 1 of them frozen; " in caplog.text
    assert "times fewer than at full depth, about " in caplog.text


def _layers(*numbers):
    return {f"transformer_layer_{number}" for number in numbers}


def test_a_staged_run_that_is_stopped_in_and_between_stages(pretrain_config, tmp_path, monkeypatch):
    options = {"phases": [PHASE], "dropout": 0.1, "checkpoint_steps": 1, "optimizer": "adamw"}
    options |= {"staging": "stack", "stages": 2, "joint_share": 0.5, "num_layers": 2}
    options |= {"growth": "random", "growth_slots": "zeros"}
    whole = pretrain(pretrain_config(**options, output=str(tmp_path / "whole")))

    def end_at(update):
        original = PretrainingCurves.on_train_batch_end

        def wrapper(curves, batch, logs=None):
            original(curves, batch, logs)
            if int(curves.model.optimizer.iterations) == update:
                os.kill(os.getpid(), signal.SIGTERM)

        with monkeypatch.context() as patch, pytest.raises(Preempted):
            patch.setattr(PretrainingCurves, "on_train_batch_end", wrapper)
            pretrain(pretrain_config(**options))

    for update in (3, 5):  # at the end of the first stage, and in the second
        end_at(update)
    result = pretrain(pretrain_config(**options))
    for one, two in zip(result.model.weights, whole.model.weights, strict=True):
        np.testing.assert_array_equal(one, two, one.path)
    assert result.history == whole.history
    metrics = [json.loads((tmp_path / r / "metrics.json").read_text()) for r in ("run", "whole")]
    assert metrics[0]["val_loss"] == metrics[1]["val_loss"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"precision": "float16", "optimizer": "adamw"},
        {"precision": "float16"},
        {"precision": "bfloat16", "rematerialize": True},
        {"device_tokens": 32, "steps_per_execution": 2},
        {"growth_slots": "reset", "stage_schedule": "each"},
    ],
)
def test_stages_in_every_precision_and_with_accumulation(pretrain_config, options):
    result = pretrain(pretrain_config(phases=[PHASE], **MSLT, **options))
    assert np.isfinite(result.metrics["val_loss"])
    assert result.model.backbone.num_layers == 2
    assert int(np.array(result.model.optimizer.iterations)) == 6


@pytest.mark.slow
def test_two_replicas_grow_as_one_device(pretrain_config, two_replicas):
    one, two = (
        pretrain(pretrain_config(phases=[PHASE], **MSLT, overwrite=True, **options)).model
        for options in ({}, {"replicas": 2})
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


def test_stages_see_the_batches_of_full_depth():
    phases = make_phases([{**PHASE, "steps": n} for n in (3, 2, 4)])
    assert batch_orders(phases) == [(0, 0), (0, 3), (0, 5)]
    longer = make_phases([{**PHASE, "sequence_length": 24, "steps": n} for n in (1, 2)])
    assert batch_orders([*phases, *longer, phases[0]])[3:] == [(1, 0), (1, 1), (2, 0)]
