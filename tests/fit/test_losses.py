"""The loss is the mean over the real targets of the global batch, in float64 by NumPy."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfbert
from tfbert.hardware.strategies import get_strategy

ROWS, WIDTH, CLASSES = 14, 5, 4
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(ROWS, WIDTH, 3)).astype(np.float32)
LABELS = RANDOM.integers(0, CLASSES, (ROWS, WIDTH)).astype(np.int32)
FLAGS = RANDOM.integers(0, 2, ROWS).astype(np.int32)
MASK = (RANDOM.random((ROWS, WIDTH)) < 0.4).astype(np.float32)
CROSSENTROPY = functools.partial(keras.losses.SparseCategoricalCrossentropy, from_logits=True)


class TwoHeads(tfbert.DistributedTrainer, keras.Model):
    """A token head (rows, WIDTH, CLASSES) and a row head (rows, 2), one linear layer each."""


def make_model(outputs="dict", hidden_layer=None, model_class=TwoHeads, **row_options):
    """With the same weights each time; a dict or list of both heads, or one by its name."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((WIDTH, 3))
    hidden = hidden_layer(inputs) if hidden_layer else inputs
    tokens = keras.layers.Dense(CLASSES, name="tokens")(hidden)
    row = keras.layers.Dense(2, name="row", **row_options)(keras.layers.Flatten()(hidden))
    both = {"tokens": tokens, "row": row}
    structures = {"dict": both, "list": [row, tokens]}
    return model_class(inputs, structures.get(outputs) or both[outputs])


@pytest.fixture(params=[(1, 1), (2, 3)], ids=["whole", "divided"])
def compiled(request):
    """A function that makes and compiles a model, whose batches are whole or in six parts."""
    replicas, accumulate_steps = request.param

    def compile_model(outputs, rate=0.0, loss="crossentropy", **options):
        with get_strategy("cpu", replicas).scope():
            model = make_model(outputs, **options)
            optimizer = keras.optimizers.SGD(rate)
            weights = {"tokens": 1.0, "row": 0.5} if isinstance(loss, dict) else None
            loss = CROSSENTROPY() if loss == "crossentropy" else loss
            model.compile(optimizer, loss, weights, accumulate_steps=accumulate_steps)
        return model

    return compile_model


def crossentropies(model, which):
    """(rows, WIDTH) or (rows,) float64 from the model's weights."""
    layer = model.get_layer(which)
    kernel, bias = (v.numpy().astype(np.float64) for v in layer.weights)
    x = X.astype(np.float64) if which == "tokens" else X.reshape(ROWS, -1).astype(np.float64)
    logits = x @ kernel + bias
    targets = LABELS if which == "tokens" else FLAGS
    chosen = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return np.logaddexp.reduce(logits, -1) - chosen


@pytest.mark.parametrize(
    ("reduction", "weights"),
    [
        ("sum_over_batch_size", "none"),
        ("sum_over_batch_size", "mask"),
        ("sum_over_batch_size", "rows"),
        ("mean_with_sample_weight", "rows"),
        ("mean_with_sample_weight", "mask"),
        ("sum", "mask"),
    ],
)
def test_one_output(compiled, reduction, weights):
    sample_weight = {"none": None, "mask": 2.0 * MASK, "rows": MASK[:, :1]}[weights]
    model = compiled("tokens", loss=CROSSENTROPY(reduction=reduction))
    history = model.fit(X, LABELS, ROWS, sample_weight=sample_weight, verbose=0, shuffle=False)
    values = crossentropies(model, "tokens")
    full = np.ones_like(values)
    if sample_weight is not None:
        full = np.broadcast_to(sample_weight.reshape(ROWS, -1), values.shape).astype(np.float64)
    expected = (values * full).sum()
    if reduction == "sum_over_batch_size":
        expected /= (full != 0).sum()
    elif reduction == "mean_with_sample_weight":
        expected /= full.sum()
    np.testing.assert_allclose(history.history["loss"], [expected], rtol=1e-5)


@pytest.mark.parametrize("containers", ["dict", "list"])
def test_two_outputs_have_a_denominator_each(compiled, containers):
    y = {"tokens": LABELS, "row": FLAGS}
    weight = {"tokens": MASK, "row": np.ones(ROWS, np.float32)}
    if containers == "list":
        y, weight = ((each["row"], each["tokens"]) for each in (y, weight))
    model = compiled(containers, loss=dict.fromkeys(["tokens", "row"], CROSSENTROPY()))
    history = model.fit(tf.data.Dataset.from_tensors((X, y, weight)), verbose=0).history
    tokens = (crossentropies(model, "tokens") * MASK).sum() / MASK.sum()
    row = crossentropies(model, "row").mean()
    np.testing.assert_allclose(history["tokens_loss"], [tokens], rtol=1e-5)
    np.testing.assert_allclose(history["row_loss"], [row], rtol=1e-5)
    np.testing.assert_allclose(history["loss"], [tokens + 0.5 * row], rtol=1e-5)


def test_the_gradient_is_that_of_the_mean_over_all_targets(compiled):
    """A step of plain descent on the bias, whose gradient is easy to write down."""
    model = compiled("tokens", rate=1.0)
    before = [v.numpy() for v in model.get_layer("tokens").weights]
    model.fit(X, LABELS, ROWS, sample_weight=MASK, verbose=0)
    logits = X.astype(np.float64) @ before[0] + before[1]
    errors = np.exp(logits - np.logaddexp.reduce(logits, -1, keepdims=True))
    errors -= np.eye(CLASSES)[LABELS]
    gradient = (errors * MASK[..., None]).sum((0, 1)) / MASK.sum()
    step = before[1] - model.get_layer("tokens").bias.numpy()
    np.testing.assert_allclose(step, gradient, rtol=1e-4, atol=1e-6)


def test_evaluation_does_not_depend_on_the_batches(compiled):
    model = compiled("tokens")
    expected = (crossentropies(model, "tokens") * MASK).sum() / MASK.sum()
    for batch_size in (1, 3, ROWS):
        loss = model.evaluate(X, LABELS, batch_size, sample_weight=MASK, verbose=0)
        np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_a_batch_without_any_target_is_no_nan(compiled):
    model = compiled("tokens", rate=1.0)
    before = model.get_layer("tokens").bias.numpy()
    history = model.fit(X, LABELS, ROWS, sample_weight=0 * MASK, verbose=0).history
    assert history["loss"] == [0.0]
    np.testing.assert_array_equal(model.get_layer("tokens").bias.numpy(), before)


class Activity(keras.layers.Layer):
    def call(self, x):
        self.add_loss(keras.ops.mean(keras.ops.square(x)) + 0.25)
        return x


def test_what_layers_add_is_the_mean_over_rows_and_counts_once(compiled):
    """Also where the last part has fewer rows, or none: 14 rows in batches of 13."""
    regularizer = keras.regularizers.L2(0.5)
    model = compiled("row", hidden_layer=Activity(), kernel_regularizer=regularizer)
    history = model.fit(X, FLAGS, 13, shuffle=False, verbose=0).history
    kernel = model.get_layer("row").kernel.numpy().astype(np.float64)
    expected = crossentropies(model, "row").mean() + (X.astype(np.float64) ** 2).mean() + 0.25
    np.testing.assert_allclose(history["loss"], [expected + 0.5 * (kernel**2).sum()], rtol=1e-5)


class OwnLoss(TwoHeads):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(keras.ops.square(y_pred[:, 0] - keras.ops.cast(y, "float32")))


def test_a_compute_loss_of_the_model_is_the_mean_of_its_rows(compiled):
    model = compiled("row", loss=None, model_class=OwnLoss)
    outputs = model.predict(X, verbose=0).astype(np.float64)
    history = model.fit(X, FLAGS, ROWS, verbose=0).history
    np.testing.assert_allclose(history["loss"], [((outputs[:, 0] - FLAGS) ** 2).mean()], rtol=1e-5)


def test_what_gives_no_number_is_refused():
    model = make_model("row")
    model.compile(loss=CROSSENTROPY(reduction=None))
    with pytest.raises(ValueError, match="reduction=None gives no number"):
        model.fit(X, FLAGS, verbose=0)
    model = make_model("row")
    model.compile(keras.optimizers.SGD())
    with pytest.raises(ValueError, match=r"(?i)no loss to compute"):
        model.fit(X, FLAGS, verbose=0)


def test_a_keras_mask_is_refused():
    inputs = keras.Input((WIDTH,), dtype="int32")
    hidden = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
    model = TwoHeads(inputs, keras.layers.Dense(CLASSES)(hidden))
    model.compile(loss=CROSSENTROPY())
    with pytest.raises(ValueError, match=r"carries a Keras mask.*give them as sample_weight"):
        model.fit(LABELS, LABELS, verbose=0)
