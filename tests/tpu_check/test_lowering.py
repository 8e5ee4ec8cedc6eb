"""The program that is compiled for a TPU is the training step itself, for one core of many."""

import dataclasses
import json
import re

import numpy as np
import pytest
import tensorflow as tf

from tfbert.recipes.phase_model import make_phase_model
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.records.batches import examples_of
from tfbert.tpu_check import core_strategy, lowering
from tfbert.tpu_check.lowering import Request, lowered, make_program

ROWS, LENGTH, PREDICTIONS, VOCABULARY = 4, 8, 2, 50
RECIPE = PretrainConfig(
    data="",
    output="",
    phases=[
        {"steps": 4, "global_batch_size": 8, "sequence_length": LENGTH, "learning_rate": 0.01},
        {"steps": 2, "global_batch_size": 8, "sequence_length": 16, "freeze_layers": 1},
    ],
    size="tiny",
    num_layers=1,
    hidden_dim=16,
    num_heads=2,
    max_sequence_length=16,
    precision="float32",
)
REQUEST = Request(RECIPE, 0, 1, ROWS, 2, PREDICTIONS, VOCABULARY, True)


def batch():
    random = np.random.default_rng(0)
    shape = (ROWS, LENGTH)
    return examples_of(
        {
            "token_ids": random.integers(1, VOCABULARY, shape, dtype=np.int32),
            "segment_ids": random.integers(0, 2, shape, dtype=np.int32),
            "padding_mask": np.ones(shape, np.int32),
            "mask_positions": np.array([[1, 3], [2, 5], [0, 7], [4, 6]], np.int32),
            "mask_ids": random.integers(1, VOCABULARY, (ROWS, PREDICTIONS), dtype=np.int32),
            "mask_weights": np.array([[1, 1], [1, 0], [1, 1], [1, 1]], np.float32),
            "next_sentence_labels": np.array([0, 1, 1, 0], np.int32),
        }
    )


@pytest.mark.slow
def test_executed_it_trains_as_fit_does(monkeypatch):
    # A CPU has no answer to which replica it is.
    monkeypatch.setattr(core_strategy.gen_xla_ops, "xla_replica_id", lambda: tf.constant(0))
    trained, program, _ = make_program(REQUEST)
    usual = make_phase_model(RECIPE, 0, VOCABULARY, True, REQUEST.accumulate_steps)
    start = {v.path: v.numpy() for v in trained.trainable_variables}
    for variable in usual.trainable_variables:
        variable.assign(start[variable.path])
    for _ in range(2):
        program(*tf.nest.flatten(batch()))
    dataset = tf.data.Dataset.from_tensors(batch()).repeat(2)
    usual.fit(dataset, verbose=0)
    for ours, theirs in zip(trained.trainable_variables, usual.trainable_variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-6)
        if not ours.path.endswith("bias"):
            assert abs(ours.numpy() - start[ours.path]).max() > 1e-4


def test_gradients_are_summed_over_all_cores_once():
    many = dataclasses.replace(REQUEST, cores=4)
    model, program, specs = make_program(many)
    text = program.experimental_get_compiler_ir(*specs)(stage="hlo")
    sums = re.findall(r"= \w+\[.*all-reduce\(.*replica_groups=\{(.*?)\}\}?,", text)
    # One of each gradient, of their divisor, and of the counts of targets.
    assert len(sums) == len(model.trainable_variables) + 2
    assert set(sums) == {"{0,1,2,3"}
    assert "replica-id()" in text  # dropout differs by core


def test_state_of_frozen_layers_counts(tmp_path):
    second = dataclasses.replace(REQUEST, phase=1)
    (tmp_path / "request.json").write_text(json.dumps(dataclasses.asdict(second)))
    lowering.main(tmp_path / "request.json", tmp_path)
    result = json.loads((tmp_path / lowering.RESULT_FILE).read_bytes())
    # Two slots of each weight of the embeddings and of the one layer, 16 wide, float32.
    embeddings = (VOCABULARY + 16 + 2) * 16 + 2 * 16
    layer = 4 * (16 * 16 + 16) + 16 * 64 + 64 + 64 * 16 + 16 + 4 * 16
    assert result["unused_bytes"] >= 2 * 4 * (embeddings + layer)
    assert result["unused_bytes"] < 2.1 * 4 * (embeddings + layer)
    assert (tmp_path / lowering.MODULE_FILE).stat().st_size > 10_000


def test_an_operation_that_xla_does_not_have_is_named():
    @tf.function(jit_compile=True)
    def program(x):
        return tf.strings.length(tf.strings.as_string(x))

    with pytest.raises(NotImplementedError, match=r"^AsString$"):
        lowered(program, [tf.TensorSpec((4,), tf.int32)])
