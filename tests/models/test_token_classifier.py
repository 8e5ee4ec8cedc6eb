"""A head on every token: its outputs, its loss over replicas, and how it is saved."""

import keras
import numpy as np
import pytest
from helpers.small_encoder import assert_same_weights, move_weights
from helpers.small_models import BATCH, CLASSES, ROWS, TOKENS, example_arrays, make_classifier
from helpers.small_pretrainer import PIECES, small_pretrainer

import tfbert
from tfbert.errors import InputError
from tfbert.hardware.strategies import get_strategy
from tfbert.models.sources import load_encoder
from tfbert.models.token_classifier import PADDING_LOGIT
from tfbert.models.trained_model import HEAD_FILE, TrainedModel, load_model, make_model, save_model
from tfbert.tasks.problems.span import Span
from tfbert.tasks.problems.tagging import Tagging
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import Vocabulary

INPUTS, _, _ = example_arrays()
RANDOM = np.random.default_rng(7)
LABELS = RANDOM.integers(0, CLASSES, (ROWS, TOKENS)).astype(np.int32)
CLASS_WEIGHTS = np.array([1.0, 4.0, 0.25], np.float32)
# Of half the tokens, those that begin a word, the weight of their label.
WEIGHTS = CLASS_WEIGHTS[LABELS] * (RANDOM.random((ROWS, TOKENS)) < 0.5) * INPUTS["padding_mask"]


def make_token_classifier(**options):
    return make_classifier(model_class=tfbert.BertTokenClassifier, **options)


def trained(strategy, **options):
    """A model after two epochs, and the losses of both."""
    with strategy.scope():
        model = make_token_classifier()
        model.compile(
            keras.optimizers.Adam(1e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            weighted_metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
            **options,
        )
    history = model.fit(
        INPUTS, LABELS, BATCH, epochs=2, sample_weight=WEIGHTS, shuffle=False, verbose=0
    )
    return model, history.history


@pytest.fixture(scope="module")
def alone():
    return trained(get_strategy("cpu", 1))


def test_outputs():
    model = make_token_classifier(dtype="mixed_bfloat16")
    logits = np.asarray(model(INPUTS))
    assert logits.shape == (ROWS, TOKENS, CLASSES) and logits.dtype == np.float32
    is_token = INPUTS["padding_mask"] == 1
    assert (logits[~is_token] == PADDING_LOGIT).all() and np.abs(logits[is_token]).max() < 1e3
    sequence = np.asarray(model.backbone(INPUTS)["sequence_output"], np.float32)
    expected = sequence @ np.asarray(model.output_dense.kernel)
    np.testing.assert_allclose(logits[is_token], expected[is_token], atol=1e-5)
    # The pooler gets no gradient, so that no optimizer waits for one.
    assert not any("pooled_dense" in v.path for v in model.trainable_variables)


def test_the_loss_is_a_mean_over_the_real_targets():
    """By NumPy in float64, with the weights of classes."""
    model = make_token_classifier()
    model.compile(
        keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    history = model.fit(INPUTS, LABELS, ROWS, sample_weight=WEIGHTS, verbose=0).history
    logits = np.asarray(model(INPUTS), np.float64)
    chosen = np.take_along_axis(logits, LABELS[..., None], -1)[..., 0]
    losses = np.logaddexp.reduce(logits, -1) - chosen
    expected = (losses * WEIGHTS).sum() / np.count_nonzero(WEIGHTS)
    np.testing.assert_allclose(history["loss"], [expected], rtol=1e-5)


def test_replicas_and_micro_batches_train_the_same(alone, two_replicas):
    model, history = alone
    other, other_history = trained(two_replicas, accumulate_steps=2)
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(other_history[name], history[name], rtol=1e-5)
    for one, two in zip(model.weights, other.weights, strict=True):
        np.testing.assert_allclose(two.numpy(), one.numpy(), atol=2e-5)


def test_a_keras_file(alone, tmp_path):
    model, _ = alone
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(INPUTS), model(INPUTS))


@pytest.fixture(scope="module")
def tagger():
    backbone = small_pretrainer(max_sequence_length=64, dtype="mixed_bfloat16").backbone
    model = move_weights(tfbert.BertTokenClassifier(backbone, 3, dropout=0.2), 0.3)
    problem = Tagging(["B-x", "I-x", "O"], "f1")
    return TrainedModel(model, BertTokenizer(Vocabulary(PIECES)), problem, 24)


@pytest.fixture
def saved(tagger, tmp_path):
    save_model(tagger, tmp_path / "model")
    return tmp_path / "model"


def test_saved_and_opened(tagger, saved):
    again = load_model(str(saved), "mixed_bfloat16")
    assert_same_weights(again.model, tagger.model)
    assert again.problem == tagger.problem
    assert (again.max_length, again.model.dropout) == (24, 0.2)
    assert again.tokenizer.vocabulary.pieces == tagger.tokenizer.vocabulary.pieces
    # It is an encoder to go on from, too; KerasHub opens it without this package.
    encoder = load_encoder(str(saved), "float32").backbone
    assert_same_weights(encoder, tagger.model.backbone)


def test_a_damaged_head(saved):
    path = saved / HEAD_FILE
    values = dict(np.load(path))
    np.savez(path, **{**values, "logits/bias": np.zeros(5, np.float32)})
    with pytest.raises(InputError, match="logits/bias is missing or misshapen"):
        load_model(str(saved))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"task_head\.npz: damaged"):
        load_model(str(saved))


@pytest.mark.parametrize(
    ("problem", "drops"),
    [(Tagging(["O", "B-x"], "f1"), True), (Span(["start", "end"], "f1"), False)],
)
def test_tags_have_dropout_before_the_head_and_spans_none(problem, drops):
    """As BERT's run_classifier.py and run_squad.py."""
    model = make_model(make_token_classifier().backbone, problem)
    trained, evaluated = (np.array(model(INPUTS, training=drop)) for drop in (True, False))
    assert np.array_equal(trained, evaluated) is not drops
