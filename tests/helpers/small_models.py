"""Small models and their data, and training runs that must all end in the same weights."""

import keras
import keras_hub
import numpy as np

import tfbert

ROWS, BATCH, EPOCHS = 33, 8, 4  # five batches an epoch, the last of one row: 20 updates
TOKENS, VOCABULARY, CLASSES = 12, 40, 3


def example_arrays(rows=ROWS):
    """(inputs, labels, weights): rows of unequal length, every sixth of weight 0."""
    random = np.random.default_rng(0)
    lengths = random.integers(3, TOKENS + 1, rows)
    mask = (np.arange(TOKENS) < lengths[:, None]).astype(np.int32)
    inputs = {
        "token_ids": (random.integers(1, VOCABULARY, (rows, TOKENS)) * mask).astype(np.int32),
        "segment_ids": np.zeros((rows, TOKENS), np.int32),
        "padding_mask": mask,
    }
    labels = random.integers(0, CLASSES, rows).astype(np.int32)
    weights = random.uniform(0.5, 2.0, rows).astype(np.float32)
    weights[::6] = 0.0
    return inputs, labels, weights


def make_classifier(dropout=0.0, dtype="float32", model_class=None):
    """A `BertClassifier` with the same weights each time."""
    keras.utils.set_random_seed(1)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=VOCABULARY,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=TOKENS,
        dropout=dropout,
        dtype=dtype,
    )
    model_class = model_class or tfbert.BertClassifier
    return model_class(backbone, num_classes=CLASSES, dropout=dropout)


class Linear(tfbert.DistributedTrainer, keras.Model):
    """For what does not depend on the model: quick to trace."""


LINEAR_X = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
LINEAR_Y = np.arange(ROWS) % CLASSES


def make_linear(model_class=Linear, dropout=0.0):
    """One dense layer, with the same weights each time."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dropout(dropout)(inputs) if dropout else inputs
    return model_class(inputs, keras.layers.Dense(CLASSES, name="logits")(hidden))


def train(strategy, callbacks=None, **compile_options):
    """Trains for 20 updates; everything that must not depend on how the work is divided.

    Returns:
        {name: array}: the flattened weights, the metrics of each epoch, of an evaluation, and the
        predictions.
    """
    with strategy.scope():
        model = make_classifier()
        model.compile(
            tfbert.LAMB(3e-3, max_grad_norm=1.0, jit_compile=False),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            weighted_metrics=["accuracy"],
            **compile_options,
        )
    inputs, labels, weights = example_arrays()
    history = model.fit(
        inputs,
        labels,
        sample_weight=weights,
        batch_size=BATCH,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )
    evaluation = model.evaluate(
        inputs, labels, BATCH, sample_weight=weights, verbose=0, return_dict=True
    )
    weights = sorted(model.trainable_variables, key=lambda variable: variable.path)
    return {
        "weights": np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in weights]),
        "history": np.array([history.history[name] for name in ("loss", "accuracy")]),
        "evaluation": np.array([evaluation[name] for name in ("loss", "accuracy")]),
        "predictions": model.predict(inputs, BATCH, verbose=0),
        "updates": np.array(model.optimizer.iterations),
    }


def difference(one, other):
    """||one - other|| / ||other|| over all weights together."""
    return np.linalg.norm(one["weights"] - other["weights"]) / np.linalg.norm(other["weights"])
