import numpy as np
import pytest
from helpers.export_models import SETTINGS, make_small_classifier
from tokenizers import Tokenizer

from tfbert.models.exports.tokenizer_files import write_tokenizer
from tfbert.runs.scoring import predict_outputs
from tfbert.tasks.tokens.tokenization import tokenize
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import SPECIAL_TOKENS, Vocabulary


@pytest.fixture(scope="session", params=SETTINGS)
def small_classifier(request):
    return make_small_classifier(request.param)


@pytest.fixture(scope="session")
def small_vocabulary_tokenizer():
    return BertTokenizer(Vocabulary([*SPECIAL_TOKENS, *"abcdefgh", "##a", "##b"]))


@pytest.fixture
def inputs_of(small_classifier, tmp_path):
    """A function from texts to inputs, by the `tokenizer.json` beside the file."""
    write_tokenizer(small_classifier.tokenizer, tmp_path, small_classifier.max_length)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))

    def make(texts):
        rows = tokenizer.encode_batch(texts)
        return {
            "token_ids": np.array([row.ids for row in rows], np.int32),
            "segment_ids": np.array([row.type_ids for row in rows], np.int32),
            "padding_mask": np.array([row.attention_mask for row in rows], np.int32),
        }

    return make


@pytest.fixture
def logits_of(small_classifier):
    """A function from texts to the logits of `predict`."""

    def predict(texts):
        tokens = tokenize(small_classifier.tokenizer, texts, small_classifier.max_length)
        return predict_outputs(small_classifier, tokens, 64)

    return predict
