"""Small models and where they were saved, shared: a test that changes one makes its own."""

import shutil

import pytest
from helpers.encoder_steps import results
from helpers.small_encoder import make_stock, move_weights
from helpers.small_pretrainer import PIECES, small_pretrainer

from tfbert.models.classifier import BertClassifier
from tfbert.models.pretrainer import save_pretrainer
from tfbert.models.trained_model import TrainedModel, save_model
from tfbert.tasks.problems.classification import Classification
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import Vocabulary


@pytest.fixture(scope="package")
def stock():
    """KerasHub's encoder; at a dropout rate of 0 its rows of padding would differ."""
    return make_stock()


@pytest.fixture(scope="package")
def expected(stock):
    """Outputs and gradients of `stock`."""
    return results(stock)


@pytest.fixture(scope="package")
def pretrainer():
    return move_weights(small_pretrainer(dtype="mixed_bfloat16"), 0.3)


@pytest.fixture(scope="package")
def classifier():
    """A `TrainedModel`."""
    backbone = small_pretrainer(max_sequence_length=64, dtype="mixed_bfloat16").backbone
    model = move_weights(BertClassifier(backbone, num_classes=3), 0.3)
    return TrainedModel(
        model,
        BertTokenizer(Vocabulary(PIECES)),
        Classification(["bad", "fair", "good"], "accuracy"),
        24,
    )


@pytest.fixture(scope="package")
def saved_pretrainer(pretrainer, tmp_path_factory):
    directory = tmp_path_factory.mktemp("pretrainer") / "model"
    save_pretrainer(pretrainer, BertTokenizer(Vocabulary(PIECES)), directory)
    return directory


@pytest.fixture(scope="package")
def saved_classifier(classifier, tmp_path_factory):
    directory = tmp_path_factory.mktemp("classifier") / "model"
    save_model(classifier, directory)
    return directory


@pytest.fixture
def copied(tmp_path):
    """A function that copies a saved model, to be changed, and returns the copy's path."""
    return lambda directory: shutil.copytree(directory, tmp_path / "copy")
