"""The 64k recipe's batches, reached by accumulation, against a computation written by hand."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.pretraining_run import make_records

import tfbert
from tfbert.models.pretrainer import make_pretrainer
from tfbert.recipes.phases import learning_rate_schedule
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.records.batches import examples_of
from tfbert.records.description import read_dataset
from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_source import open_prepared
from tfbert.runs.pretrain import pretrain

PIECE = 2_048  # sequences; accumulation takes others, 8,192 tokens


def configured(tmp_path, records):
    """Two updates of each phase.

    The sequences are short, so that this takes minutes instead of hours: what is tried is the
    number of sequences, 65,536 and 32,768.
    """
    options = {"data": records, "output": str(tmp_path / "run")}
    phases = PretrainConfig.from_recipe("lamb_76min", **options).phases
    short = [
        dataclasses.replace(phase, steps=2, sequence_length=length)
        for phase, length in zip(phases, (16, 24), strict=True)
    ]
    return PretrainConfig.from_recipe(
        "lamb_76min",
        **options,
        phases=short,
        size="tiny",
        dropout=0.0,
        max_sequence_length=24,
        precision="float32",
        eval_sequences=8,
        progress=False,
    )


def gradients_of(model, batch):
    """Gradients in float64 of the loss of one batch, piece by piece."""
    variables = model.trainable_variables
    tokens = batch["mask_weights"].sum(dtype=np.float64)
    rows = len(batch["token_ids"])

    @tf.function(autograph=False)
    def of_piece(inputs, targets, weights):
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            masked, following = (
                tf.nn.sparse_softmax_cross_entropy_with_logits(targets[name], logits[name])
                for name in ("mlm", "nsp")
            )
            loss = tf.reduce_sum(masked * weights["mlm"]) / tf.cast(tokens, tf.float32)
            loss += tf.reduce_sum(following) / float(rows)
        return [tf.convert_to_tensor(g) for g in tape.gradient(loss, [v.value for v in variables])]

    totals = [np.zeros(v.shape) for v in variables]
    for begin in range(0, rows, PIECE):
        piece = {name: array[begin : begin + PIECE] for name, array in batch.items()}
        for total, gradient in zip(totals, of_piece(*examples_of(piece)), strict=True):
            total += gradient.numpy()
    return totals


@pytest.mark.slow
def test_two_updates_of_64k_and_of_32k(tmp_path, embedded_vocabulary_file):
    records = make_records(tmp_path, embedded_vocabulary_file)
    config = configured(tmp_path, records)
    assert [phase.global_batch_size for phase in config.phases] == [65_536, 32_768]
    trained = pretrain(config).model

    keras.utils.set_random_seed(config.seed)
    model = make_pretrainer(
        config.bert_size,
        trained.backbone.vocabulary_size,
        dropout=0.0,
        max_sequence_length=config.max_sequence_length,
    )
    before = np.concatenate([np.ravel(v) for v in model.trainable_variables])
    optimizer = tfbert.LAMB(
        learning_rate_schedule(config.phases),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
    )
    optimizer.build(model.trainable_variables)
    for number, phase in enumerate(config.phases):
        source = open_prepared(records, read_dataset(records), "train", phase.sequence_length)
        seed = config.seed + number * 2**32
        batches = PretrainingRecords(source, phase.global_batch_size, seed)
        for step in range(phase.steps):
            gradients = gradients_of(model, batches.batch(step))
            optimizer.apply([tf.constant(g, tf.float32) for g in gradients])

    ours = np.concatenate([np.ravel(v) for v in trained.trainable_variables])
    direct = np.concatenate([np.ravel(v) for v in model.trainable_variables])
    assert np.linalg.norm(direct - before) > 1e-3 * np.linalg.norm(before)
    # Of the change, not of the weights: four updates move them little.
    assert np.linalg.norm(ours - direct) <= 1e-4 * np.linalg.norm(direct - before)
