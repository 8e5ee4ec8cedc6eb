"""KerasHub's classes fed with strings: the stock class is the reference, at a dropout rate of 0."""

import functools
import json
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from helpers.small_encoder import assert_same_weights, make_stock
from helpers.small_pretrainer import PIECES

import tfbert
from tfbert.errors import InputError
from tfbert.fit.batches.preprocessing import preprocessed
from tfbert.hardware.strategies import get_strategy
from tfbert.models.encoder import copy_weights, from_stock

TEXTS = ["good film", "bad", "a long and dull film, at least for us", "", "good good", "bad film"]
TEXTS += ["awake and good", "dull and bad"]
LABELS = [1, 0, 0, 0, 1, 0, 1, 0]
SECOND = [text.upper() for text in reversed(TEXTS)]


class Mixed(tfbert.DistributedTrainer, keras_hub.models.BertTextClassifier):
    pass


def make(kind, run_eagerly=True):
    """A small classifier, always with the same weights; eager is faster than tracing so little."""
    keras.utils.set_random_seed(3)
    backbone = make_stock(vocabulary_size=len(PIECES), num_layers=1, dropout=0.0)
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=list(PIECES), lowercase=True)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=24)
    arguments = {"num_classes": 2, "preprocessor": preprocessor, "dropout": 0.0}
    stock = keras_hub.models.BertTextClassifier(backbone, **arguments)
    if kind is tfbert.TextClassifier:
        backbone = from_stock(backbone)
    model = kind(backbone, **arguments)
    copy_weights(stock, model)
    # Adam would make large differences of small ones where a gradient is nearly 0. XLA takes long
    # to compile; the test of presets has it.
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False, run_eagerly=run_eagerly)
    return model


class Losses(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(logs["loss"])


def trained(model, x=TEXTS, y=LABELS, **options):
    """Losses of four updates, as the running mean that Keras logs, and results afterwards."""
    losses = Losses()
    options = {"epochs": 2, "verbose": 0, "callbacks": [losses], **options}
    if isinstance(x, tf.data.Dataset):
        model.fit(x, **options)
        scores = model.evaluate(x, verbose=0)
        return losses.values, scores, model.predict(x.map(lambda x, y: (x,)), verbose=0)
    model.fit(x, y, batch_size=4, **options)
    scores = model.evaluate(x, y, batch_size=4, verbose=0)
    return losses.values, scores, model.predict(x, batch_size=4, verbose=0)


def assert_equal(results, expected):
    for ours, theirs in zip(results, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def stock():
    """What the stock class makes of single texts or of pairs."""

    @functools.cache
    def results(paired):
        x = (tf.constant(TEXTS), tf.constant(SECOND)) if paired else TEXTS
        return trained(make(keras_hub.models.BertTextClassifier), x, np.array(LABELS))

    return results


def in_form(form):
    """The same eight texts, or pairs of them, in each form that people have them in."""
    if form == "dataset of pairs":
        pairs = ((TEXTS, SECOND), LABELS)
        return tf.data.Dataset.from_tensor_slices(pairs).batch(4), None
    forms = {"list": TEXTS, "objects": np.array(TEXTS, object), "pairs": (TEXTS, SECOND)}
    return forms[form], LABELS


@pytest.mark.parametrize(
    ("kind", "replicas", "form"),
    [
        (Mixed, 2, "pairs"),
        (tfbert.TextClassifier, 1, "dataset of pairs"),
        pytest.param(Mixed, 1, "list", marks=pytest.mark.slow),
        pytest.param(tfbert.TextClassifier, 1, "objects", marks=pytest.mark.slow),
        pytest.param(tfbert.TextClassifier, 1, "pairs", marks=pytest.mark.slow),
        pytest.param(tfbert.TextClassifier, 2, "list", marks=pytest.mark.slow),
        pytest.param(tfbert.TextClassifier, 2, "pairs", marks=pytest.mark.slow),
    ],
)
def test_strings_train_as_the_stock_class_does(stock, two_replicas, kind, replicas, form):
    strategy = two_replicas if replicas == 2 else get_strategy("cpu")
    with strategy.scope():
        model = make(kind, run_eagerly=False)
    assert_equal(trained(model, *in_form(form), shuffle=False), stock("pairs" in form))


def test_single_batches_validation_and_weights():
    model, stock = make(tfbert.TextClassifier), make(keras_hub.models.BertTextClassifier)
    x, y = np.array(TEXTS), np.array(LABELS)
    for run in (
        lambda model: model.train_on_batch(x, y),
        lambda model: model.test_on_batch(x, y),
        lambda model: model.predict_on_batch(x),
    ):
        stock.reset_metrics()  # Keras 3.13 goes on with those of the call before
        np.testing.assert_allclose(run(model), run(stock), rtol=1e-4, atol=1e-4)
    options = {"batch_size": 4, "verbose": 0, "sample_weight": np.arange(1.0, 9.0)}
    options["validation_data"] = (x, y)
    ours = model.fit(x, y, shuffle=False, **options).history
    theirs = stock.fit(x, y, **options).history
    assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-3)
    history = model.fit(x, y, verbose=0, class_weight={0: 1.0, 1: 2.0}, validation_split=0.25)
    assert np.isfinite(history.history["val_loss"]).all()


def test_arrays_are_shuffled_and_batches_no_longer_than_their_texts():
    model = make(tfbert.TextClassifier)
    keras.utils.set_random_seed(0)
    dataset, rest = preprocessed(model, TEXTS, y=np.arange(8), shuffle=True, batch_size=8)
    first, second = (next(iter(dataset))[1].numpy().tolist() for _ in range(2))
    assert rest == {}
    assert first != second
    assert sorted(first) == sorted(second) == list(range(8))
    inputs, _ = model.preprocess_samples(tf.constant(["bad"]), tf.constant([1]))
    assert {name: tuple(values.shape) for name, values in inputs.items()} == dict.fromkeys(
        ("token_ids", "segment_ids", "padding_mask"), (1, 8)
    )


def test_what_is_no_text_is_named():
    model = make(tfbert.TextClassifier)
    with pytest.raises(ValueError, match="text 1 is None: it must be a string"):
        model.fit(["good", None], [0, 1], verbose=0)
    with pytest.raises(ValueError, match="as many rows"):
        model.fit(["good", "bad"], [0], verbose=0)
    with pytest.raises(ValueError, match="generator: give arrays"):
        model.predict(text for text in TEXTS)
    with pytest.raises(ValueError, match="y: a tf"):
        model.fit(tf.data.Dataset.from_tensors(TEXTS), LABELS)


def test_without_a_preprocessor_it_takes_word_pieces():
    model = make(tfbert.TextClassifier)
    inputs, labels = model.preprocess_samples(tf.constant(TEXTS), tf.constant(LABELS))
    expected = model.predict(TEXTS, verbose=0)
    model.preprocessor = None
    arrays = {name: values.numpy() for name, values in inputs.items()}
    np.testing.assert_allclose(model.predict(arrays, verbose=0), expected, atol=1e-5)
    model.fit(arrays, labels.numpy(), verbose=0)


def test_from_preset_and_back(tmp_path):
    model = tfbert.TextClassifier.from_preset("embedded", num_classes=2, sequence_length=16)
    assert type(model.backbone) is tfbert.BertEncoder
    model.fit(["good", "bad"] * 4, [1, 0] * 4, batch_size=4, verbose=0)
    expected = model.predict(["Very good.", "bad"], verbose=0)
    model.save_to_preset(tmp_path / "preset")
    task = json.loads((tmp_path / "preset" / "task.json").read_text())
    assert task["registered_name"] == "keras_hub>BertTextClassifier"
    again = tfbert.TextClassifier.from_preset(str(tmp_path / "preset"))
    assert again.preprocessor.sequence_length == 16
    assert_same_weights(again, model)
    stock = keras_hub.models.TextClassifier.from_preset(str(tmp_path / "preset"))
    assert type(stock) is keras_hub.models.BertTextClassifier
    for opened in (again, stock):
        opened.run_eagerly = True
        actual = opened.predict(["Very good.", "bad"], verbose=0)
        np.testing.assert_allclose(actual, expected, atol=1e-4)
    with pytest.raises(InputError, match="without a classification head"):
        tfbert.TextClassifier.from_preset("embedded")


@pytest.mark.parametrize("place", ["here", pytest.param("a new process", marks=pytest.mark.slow)])
def test_keras_files_hold_the_compilation(tmp_path, place):
    model = make(tfbert.TextClassifier)
    assert type(tfbert.TextClassifier(model.backbone, 2).optimizer) is keras.optimizers.Adam
    model.compile(tfbert.LAMB(1e-3), metrics=["accuracy"], run_eagerly=True)
    assert isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy)  # KerasHub's
    model.fit(TEXTS, LABELS, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    if place == "here":
        again = keras.models.load_model(path)
        assert type(again.optimizer) is tfbert.LAMB
        again.run_eagerly = True
        outputs = again.predict(["good film", "bad"], verbose=0)
    else:
        code = (
            "import sys, numpy as np, tfbert, keras\n"
            "model = keras.models.load_model(sys.argv[1])\n"
            "assert type(model.optimizer) is tfbert.LAMB\n"
            "np.save(sys.argv[2], model.predict(['good film', 'bad'], verbose=0))"
        )
        command = [sys.executable, "-c", code, path, tmp_path / "outputs.npy"]
        subprocess.run(command, check=True)
        outputs = np.load(tmp_path / "outputs.npy")
    expected = model.predict(["good film", "bad"], verbose=0)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
