import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest

from tfbert.errors import InputError
from tfbert.models.classifier import (
    BertClassifier,
    TrainedClassifier,
    load_classifier,
    save_classifier,
)
from tfbert.models.encoder import copy_weights, freeze_lower_layers, to_stock
from tfbert.models.sources import load_encoder
from tfbert.tasks.batching import collate, padded_lengths
from tfbert.tasks.tokenization import tokenize

IDS = np.random.default_rng(0).integers(5, 8000, (3, 9)).astype("int32")
INPUTS = {"token_ids": IDS, "segment_ids": 0 * IDS, "padding_mask": (np.arange(9) < 7) + 0 * IDS}


def make(dtype="float32"):
    keras.utils.set_random_seed(3)
    encoder = load_encoder("embedded", dtype)
    model = BertClassifier(encoder.backbone, num_classes=3)
    # Weights away from zero, so that a lost one is seen.
    model.output_dense.kernel.assign(np.random.default_rng(1).normal(size=(128, 3)))
    model.output_dense.bias.assign([0.1, -0.2, 0.3])
    return TrainedClassifier(model, encoder.tokenizer, ["bad", "fair", "good"], 24)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_whatever_the_encoder_computes_in(dtype):
    model = make(dtype).model
    logits = keras.ops.convert_to_numpy(model(INPUTS))
    assert model.backbone.transformer_layers[0].compute_dtype == dtype.removeprefix("mixed_")
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, make().model(INPUTS), atol=0.1)


def test_the_same_logits_as_the_stock_classifier(tmp_path):
    classifier = make()
    save_classifier(classifier, tmp_path / "model")
    stock = keras_hub.models.TextClassifier.from_preset(str(tmp_path / "model"))
    assert type(stock) is keras_hub.models.BertTextClassifier
    np.testing.assert_allclose(stock(INPUTS), classifier.model(INPUTS), atol=1e-5)
    assert stock.preprocessor.sequence_length == 24
    assert stock.preprocessor.tokenizer.strip_accents


def test_stock_logits_do_not_depend_on_the_padding():
    """So batches padded to their longest text train what stock trains at a fixed length."""
    classifier = make()
    stock = keras_hub.models.BertTextClassifier(to_stock(classifier.model.backbone), 3)
    copy_weights(classifier.model, stock)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(
        classifier.tokenizer, sequence_length=64
    )
    texts = ["Good.", "", "A long and dull film, at least for those of us who were awake."]
    fixed = preprocessor(texts)
    tokens = tokenize(classifier.tokenizer, texts, 64)
    batch = collate(tokens, np.arange(3), padded_lengths(64))
    length = batch["token_ids"].shape[1]
    assert length < 64
    for name, values in batch.items():
        np.testing.assert_array_equal(np.asarray(fixed[name])[:, :length], values)
    np.testing.assert_allclose(stock(fixed), stock(batch), atol=1e-5)


def test_stock_classes_open_it_where_tfbert_was_never_imported(tmp_path):
    classifier = make("mixed_bfloat16")
    save_classifier(classifier, tmp_path / "model")
    np.savez(tmp_path / "inputs.npz", **INPUTS)
    code = (
        "import sys, numpy as np, keras_hub\n"
        "model = keras_hub.models.TextClassifier.from_preset('model')\n"
        "np.save('logits.npy', model(dict(np.load('inputs.npz'))))\n"
        "assert not [name for name in sys.modules if name.startswith('tfbert')]"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    expected = load_classifier(str(tmp_path / "model")).model(INPUTS)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, atol=1e-5)


def test_what_was_saved_is_loaded(tmp_path):
    classifier = make()
    save_classifier(classifier, tmp_path / "model")
    loaded = load_classifier(str(tmp_path / "model"))
    assert (loaded.labels, loaded.max_length) == (["bad", "fair", "good"], 24)
    np.testing.assert_allclose(loaded.model(INPUTS), classifier.model(INPUTS), atol=1e-6)
    (tmp_path / "model" / "labels.json").unlink()
    assert load_classifier(str(tmp_path / "model")).labels == ["0", "1", "2"]


@pytest.mark.parametrize("content", ["{{", "5", '["a"]'])
def test_damaged_labels_are_named(tmp_path, content):
    save_classifier(make(), tmp_path / "model")
    (tmp_path / "model" / "labels.json").write_text(content)
    with pytest.raises(InputError, match=r"labels\.json: damaged"):
        load_classifier(str(tmp_path / "model"))


def test_a_preset_without_a_tokenizer(tmp_path):
    model = make().model
    stock = keras_hub.models.BertTextClassifier(to_stock(model.backbone), 3)
    stock.save_to_preset(str(tmp_path / "model"))
    with pytest.raises(InputError, match="no tokenizer"):
        load_classifier(str(tmp_path / "model"))


def test_keras_format_round_trip(tmp_path):
    model = make("mixed_bfloat16").model
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(INPUTS), model(INPUTS))


def test_an_encoder_is_no_classifier():
    with pytest.raises(InputError, match="without a classification head; train one with"):
        load_classifier("embedded")


def test_freezing_lower_layers():
    backbone = make().model.backbone
    freeze_lower_layers(backbone, 0)
    assert not backbone.non_trainable_weights
    freeze_lower_layers(backbone, 1)
    trainable = {variable.path.split("/")[0] for variable in backbone.trainable_variables}
    assert trainable == {"transformer_layer_1", "pooled_dense"}
    with pytest.raises(InputError, match="--freeze-layers 3: the model has only 2 layers"):
        freeze_lower_layers(backbone, 3)
