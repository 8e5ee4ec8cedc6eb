import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers.export_models import TEXTS
from tokenizers import Tokenizer

from tfbert.models.exports.savedmodel import _sizes_of_pairs, write_savedmodel
from tfbert.models.exports.tokenizer_files import TOKENIZER_FILE, write_tokenizer

# What a server does; it finds neither this package nor Keras.
_SERVE = """
import json, sys
import tensorflow as tf
folder, texts = json.load(sys.stdin)
signatures = tf.saved_model.load(folder).signatures
def call(name, *texts):
    names = ("text", "second_text")
    given = {key: tf.constant(value, tf.string) for key, value in zip(names, texts)}
    answer = signatures[name](**given)
    return {key: value.numpy().tolist() for key, value in answer.items()}
answers = {
    "all": call("serving_default", texts),
    "one": call("serving_default", texts[:1]),
    "none": call("serving_default", []),
    "pairs": call("pairs", texts, texts[::-1]),
}
assert not {"tfbert", "keras_hub", "tensorflow_text"} & set(sys.modules)
print(json.dumps(answers, default=bytes.decode))
"""


@pytest.fixture(scope="module")
def served(small_classifier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "model"
    write_savedmodel(small_classifier, folder)
    done = subprocess.run(
        [sys.executable, "-I", "-c", _SERVE],
        input=json.dumps([str(folder), TEXTS]),
        capture_output=True,
        text=True,
        cwd=folder.parent,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_texts_in_a_process_of_its_own(small_classifier, served, logits_of):
    logits = logits_of(TEXTS)
    answer, labels = served["all"], small_classifier.labels
    np.testing.assert_allclose(answer["logits"], logits, atol=1e-5)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-5)
    np.testing.assert_allclose(answer["probability"], probabilities.max(-1), atol=1e-5)
    assert answer["label"] == [labels[number] for number in logits.argmax(-1)]
    assert answer["labels"] == [labels] * len(TEXTS)
    np.testing.assert_allclose(served["one"]["logits"], logits[:1], atol=1e-5)
    assert served["none"]["label"] == served["none"]["logits"] == []


def test_pairs(small_classifier, served, tmp_path):
    write_tokenizer(small_classifier.tokenizer, tmp_path, small_classifier.max_length)
    tokenizer = Tokenizer.from_file(str(tmp_path / TOKENIZER_FILE))
    encoded = tokenizer.encode_batch(list(zip(TEXTS, TEXTS[::-1], strict=True)))
    names = {"token_ids": "ids", "segment_ids": "type_ids", "padding_mask": "attention_mask"}
    inputs = {
        name: np.array([getattr(row, theirs) for row in encoded], np.int32)
        for name, theirs in names.items()
    }
    logits = small_classifier.model(inputs)
    np.testing.assert_allclose(served["pairs"]["logits"], logits, atol=1e-5)


def test_pairs_are_cut_as_hugging_faces_are(small_classifier, tmp_path):
    limit = 7
    write_tokenizer(small_classifier.tokenizer, tmp_path, limit + 3)
    tokenizer = Tokenizer.from_file(str(tmp_path / TOKENIZER_FILE))
    sizes = [(first, second) for first in range(12) for second in range(12)]
    pairs = [(" ".join("x" * first), " ".join("x" * second)) for first, second in sizes]
    types = [
        [t for t, m in zip(e.type_ids, e.attention_mask, strict=True) if m]
        for e in tokenizer.encode_batch(pairs)
    ]
    expected = [(row.count(0) - 2, row.count(1) - 1) for row in types]
    ours = _sizes_of_pairs(*(tf.constant(part) for part in zip(*sizes, strict=True)), limit)
    assert list(zip(*(part.numpy().tolist() for part in ours), strict=True)) == expected
