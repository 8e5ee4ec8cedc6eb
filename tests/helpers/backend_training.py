"""Training that must come to the same weights on TensorFlow and on JAX."""

import keras
import numpy as np
from helpers.small_distilled import train_distilled
from helpers.small_models import (
    BATCH,
    EPOCHS,
    LINEAR_X,
    LINEAR_Y,
    Linear,
    example_arrays,
    make_classifier,
    make_linear,
)

import tfbert

WEIGHTS = np.tile(np.array([1.0, 0.5, 0.0, 2.0], "float32"), 9)


def give_weights(model):
    """Gives a model weights that do not depend on the backend."""
    random = np.random.default_rng(5)
    for variable in sorted(model.weights, key=lambda v: v.path):
        variable.assign(random.normal(size=variable.shape) * 0.2 + ("gamma" in variable.path))
    return model


def half_precision_linear():
    """One dense layer that computes in float16."""
    inputs = keras.Input((4,))
    logits = keras.layers.Dense(3, dtype="mixed_float16", name="logits")(inputs)
    return Linear(inputs, keras.layers.Activation("linear", dtype="float32")(logits))


def train_alike(strategy, kind, **compile_options):
    """20 updates of a model whose weights are the same on each backend.

    Args:
        kind: `linear`; `float16`, a linear model whose gradients overflow at two steps in each
            epoch, by a row of the last part of the batch; `classifier`, whose batches are divided
            unevenly, with an evaluation and predictions; `distilled`, a student with a
            teacher, and `half-distilled`, one that predicts masked tokens as well.

    Returns:
        {name: array}.
    """
    if kind in ("distilled", "half-distilled"):
        return train_distilled(strategy, 1.0 if kind == "distilled" else 0.5, **compile_options)
    with strategy.scope():
        makers = {"classifier": make_classifier, "float16": half_precision_linear}
        model = give_weights(makers.get(kind, make_linear)())
        model.compile(
            tfbert.LAMB(3e-3, max_grad_norm=1.0, jit_compile=False),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            weighted_metrics=["accuracy"],
            **compile_options,
        )
    inputs, labels, weights = example_arrays()
    if kind != "classifier":
        inputs, labels, weights = LINEAR_X[:32], LINEAR_Y[:32], WEIGHTS[:32]
    if kind == "float16":
        inputs = inputs.copy()
        inputs[[7, 23]] *= 1_000
    epochs = EPOCHS if kind == "classifier" else 5
    options = {"batch_size": BATCH, "sample_weight": weights, "verbose": 0}
    history = model.fit(inputs, labels, epochs=epochs, shuffle=False, **options)
    found = {
        "weights": np.concatenate(
            [keras.ops.convert_to_numpy(v).ravel() for v in sorted(model.weights, key=by_path)]
        ),
        "history": np.array([history.history[name] for name in ("loss", "accuracy")]),
        "updates": number(model.optimizer.iterations),
    }
    if kind == "classifier":
        found["evaluation"] = np.array(model.evaluate(inputs, labels, **options))
        found["predictions"] = model.predict(inputs, BATCH, verbose=0)
    if kind == "float16":
        found["skipped"] = number(model.optimizer.skipped_steps)
        found["scale"] = number(model.optimizer.dynamic_scale)
    return found


def number(variable):
    return keras.ops.convert_to_numpy(variable).item()


def by_path(variable):
    return variable.path
