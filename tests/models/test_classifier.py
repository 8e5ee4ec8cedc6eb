import json
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
from helpers.small_encoder import assert_same_weights

from tfbert.errors import InputError
from tfbert.models.classifier import BertClassifier
from tfbert.models.encoder import copy_weights, from_stock, to_stock
from tfbert.models.trained_model import LABELS_FILE, load_model
from tfbert.tasks.tokens.batching import collate, padded_lengths
from tfbert.tasks.tokens.tokenization import tokenize

IDS = np.random.default_rng(0).integers(5, 50, (3, 9)).astype("int32")
INPUTS = {"token_ids": IDS, "segment_ids": 0 * IDS, "padding_mask": (np.arange(9) < 7) + 0 * IDS}


@pytest.fixture(scope="module")
def exported(classifier):
    """KerasHub's classifier of the same weights, float32."""
    backbone = to_stock(classifier.model.backbone, dtype="float32")
    stock = keras_hub.models.BertTextClassifier(backbone, 3)
    copy_weights(classifier.model, stock)
    return stock


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_whatever_the_encoder_computes_in(classifier, exported, dtype):
    model = BertClassifier(from_stock(classifier.model.backbone, dtype=dtype), num_classes=3)
    copy_weights(classifier.model, model)
    logits = keras.ops.convert_to_numpy(model(INPUTS))
    assert model.backbone.transformer_layers[0].compute_dtype == dtype.removeprefix("mixed_")
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, exported(INPUTS), atol=1e-5 if dtype == "float32" else 0.1)


def test_what_was_saved_is_opened_with_tfbert_and_with_stock_classes(
    classifier, exported, saved_classifier, copied
):
    loaded = load_model(str(saved_classifier))
    assert (loaded.labels, loaded.max_length) == (["bad", "fair", "good"], 24)
    opened = keras_hub.models.TextClassifier.from_preset(str(saved_classifier))
    assert type(opened) is keras_hub.models.BertTextClassifier
    assert opened.preprocessor.sequence_length == 24
    assert opened.preprocessor.tokenizer.strip_accents
    for model in (loaded.model, opened):
        assert_same_weights(model, classifier.model)
        np.testing.assert_allclose(model(INPUTS), exported(INPUTS), atol=1e-5)
    unnamed = copied(saved_classifier)
    (unnamed / "problem.json").unlink()
    assert load_model(str(unnamed)).labels == ["0", "1", "2"]
    (unnamed / LABELS_FILE).write_text('["c", "b", "a"]')  # as older versions wrote them
    assert load_model(str(unnamed)).labels == ["c", "b", "a"]


def test_stock_classes_open_saved_models_where_tfbert_was_never_imported(
    exported, saved_classifier, pretrainer, saved_pretrainer, tmp_path
):
    code = (
        "import sys, numpy as np, keras_hub\n"
        "classifier, pretrainer = sys.argv[1:]\n"
        "model = keras_hub.models.TextClassifier.from_preset(classifier)\n"
        "np.save('logits.npy', model(dict(np.load('inputs.npz'))))\n"
        "backbone = keras_hub.models.Backbone.from_preset(pretrainer)\n"
        "tokenizer = keras_hub.models.Tokenizer.from_preset(pretrainer)\n"
        "assert type(backbone) is keras_hub.models.BertBackbone\n"
        "assert tokenizer.vocabulary_size() == 50\n"
        "np.save('table.npy', backbone.token_embedding.embeddings)\n"
        "assert not [name for name in sys.modules if name.startswith('tfbert')]"
    )
    np.savez(tmp_path / "inputs.npz", **INPUTS)
    command = [sys.executable, "-P", "-c", code, saved_classifier, saved_pretrainer]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), exported(INPUTS), atol=1e-5)
    table = pretrainer.backbone.token_embedding.embeddings
    np.testing.assert_array_equal(np.load(tmp_path / "table.npy"), table)


def test_stock_logits_do_not_depend_on_the_padding(classifier, exported):
    """So batches padded to their longest text train what stock trains at a fixed length."""
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(
        classifier.tokenizer.to_keras_hub(), sequence_length=64
    )
    texts = ["Good.", "", "A long and dull film, at least for those of us who were awake."]
    fixed = preprocessor(texts)
    tokens = tokenize(classifier.tokenizer, texts, 64)
    batch = collate(tokens, np.arange(3), padded_lengths(64))
    length = batch["token_ids"].shape[1]
    assert length < 64
    for name, values in batch.items():
        np.testing.assert_array_equal(np.asarray(fixed[name])[:, :length], values)
    np.testing.assert_allclose(exported(fixed), exported(batch), atol=1e-5)


def test_keras_format_round_trip(classifier, tmp_path):
    classifier.model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(INPUTS), classifier.model(INPUTS))


def test_what_is_not_a_whole_classifier_is_named(saved_classifier, copied):
    with pytest.raises(InputError, match="without a classification head; train one with"):
        load_model("embedded")
    damaged = copied(saved_classifier)
    (damaged / "problem.json").unlink()
    for content in ("{{", "5", '["a"]'):
        (damaged / LABELS_FILE).write_text(content)
        with pytest.raises(InputError, match=r"labels\.json: damaged"):
            load_model(str(damaged))


def test_a_classifier_without_a_preprocessor_has_no_tokenizer(saved_classifier, copied):
    """KerasHub from 0.27 on saves such a task; older ones fail at it."""
    folder = copied(saved_classifier)
    task = json.loads((folder / "task.json").read_text())
    task["config"]["preprocessor"] = None
    (folder / "task.json").write_text(json.dumps(task))
    (folder / "preprocessor.json").unlink()
    with pytest.raises(InputError, match="no tokenizer"):
        load_model(str(folder))
