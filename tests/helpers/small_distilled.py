"""A small student, a wider teacher, and training that must come to the same weights everywhere."""

import keras
import numpy as np
from helpers.small_encoder import move_weights
from helpers.small_pretrainer import small_pretrainer

from tfbert.models.distillation.distilled import DistilledPretrainer
from tfbert.models.distillation.teacher import Teacher
from tfbert.models.sizes import BertSize
from tfbert.records.batches import examples_of

STUDENT = BertSize(num_layers=1, hidden_dim=16, num_heads=2, intermediate_dim=32)
WIDE = BertSize(num_layers=1, hidden_dim=24, num_heads=3, intermediate_dim=32)
LENGTH, PREDICTIONS, VOCABULARY = 12, 3, 50


def small_teacher(size=WIDE, ids=None, **options):
    """A `Teacher` with the same weights each time, on each backend."""
    return Teacher(move_weights(alike(small_pretrainer(size, **options).backbone), 0.1), ids)


def alike(model):
    """Gives a model weights that do not depend on the backend."""
    random = np.random.default_rng(5)
    for variable in sorted(model.weights, key=lambda v: v.path):
        variable.assign(random.normal(size=variable.shape) * 0.2 + ("gamma" in variable.path))
    return model


def small_student(teacher=None, share=1.0, size=STUDENT, **options):
    """A `DistilledPretrainer`."""
    student = small_pretrainer(size, next_sentence=share < 1, **options)
    return alike(DistilledPretrainer(student, teacher or small_teacher(), share))


def masked_batch(rows=8):
    """A batch as `PretrainingRecords` gives it: rows of unequal length, and their original ids."""
    random = np.random.default_rng(0)
    lengths = random.integers(4, LENGTH + 1, rows)
    real = (np.arange(LENGTH) < lengths[:, None]).astype("int32")
    originals = (random.integers(5, VOCABULARY, (rows, LENGTH)) * real).astype("int32")
    positions = np.tile(np.array([1, 3, 0], "int32"), (rows, 1))  # the last is no prediction
    token_ids = originals.copy()
    token_ids[:, [1, 3]] = 4
    batch = {
        "token_ids": token_ids,
        "segment_ids": (np.arange(LENGTH) >= lengths[:, None] // 2).astype("int32") * real,
        "padding_mask": real,
        "mask_positions": positions,
        "mask_ids": np.take_along_axis(originals, positions, axis=1) * np.array([1, 1, 0], "int32"),
        "mask_weights": np.tile(np.array([1, 1, 0], "float32"), (rows, 1)),
        "next_sentence_labels": random.integers(0, 2, rows).astype("int32"),
    }
    return batch, originals


def distances_by_hand(model, batch, originals):
    """Both distances in float64, sequence by sequence, of the hidden states that the encoders have.

    Returns:
        (mean over the real tokens, mean over the sequences).
    """

    def states_of(backbone, token_ids):
        inputs = {name: batch[name] for name in ("segment_ids", "padding_mask")}
        states = backbone({**inputs, "token_ids": token_ids})["sequence_output"]
        return keras.ops.convert_to_numpy(states).astype(np.float64)

    read = batch["token_ids"] if model.share < 1 else originals
    projection = model.get_layer("teacher_distances").projection
    kernel, bias = (keras.ops.convert_to_numpy(v) for v in (projection.kernel, projection.bias))
    ours = states_of(model.backbone, read) @ kernel.astype(np.float64) + bias
    theirs = states_of(model.teacher.backbone, originals)
    tokens, sentences = [], []
    for s, t, length in zip(ours, theirs, batch["padding_mask"].sum(axis=1), strict=True):
        s, t = s[:length], t[:length]
        tokens += [np.sum((a - b) ** 2) / np.sum(b**2) for a, b in zip(s, t, strict=True)]
        s, t = s.mean(axis=0), t.mean(axis=0)
        sentences.append(1 - s @ t / np.linalg.norm(s) / np.linalg.norm(t))
    return np.mean(tokens), np.mean(sentences)


def compiled(model, optimizer="sgd", **options):
    """The model, with the losses, their weights and the metrics of its training."""
    model.compile(
        optimizer,
        loss=model.pretraining_losses(),
        loss_weights=model.loss_weights(),
        weighted_metrics=model.pretraining_metrics(),
        jit_compile=False,
        **options,
    )
    return model


def train_distilled(strategy, share=1.0, **options):
    """20 updates; {name: array} of what must not depend on backend and division.

    By a plain optimizer, which is quick to compile.
    """
    with strategy.scope():
        model = small_student(share=share)
        compiled(model, keras.optimizers.SGD(0.05), **options)
    inputs, targets, weights = examples_of(masked_batch(16)[0], share)
    given = {"batch_size": 8, "sample_weight": weights, "verbose": 0}
    history = model.fit(inputs, targets, epochs=10, shuffle=False, **given).history
    evaluation = model.evaluate(inputs, targets, return_dict=True, **given)
    names = ["loss", *(f"{output}_loss" for output in sorted(model.output))]
    trained = sorted(model.trainable_variables, key=lambda v: v.path)
    return {
        "weights": np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in trained]),
        "history": np.array([history[name] for name in names]),
        "evaluation": np.array([evaluation[name] for name in names]),
        "updates": keras.ops.convert_to_numpy(model.optimizer.iterations).item(),
    }
