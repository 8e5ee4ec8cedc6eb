import keras
import pytest

from tfbert.models.classifier import BertClassifier
from tfbert.models.sources import load_encoder
from tfbert.models.trained_model import TrainedModel, save_model
from tfbert.tasks.problems.classification import Classification


@pytest.fixture(scope="session")
def small_classifier():
    """The embedded encoder with a head that was not trained: answers differ from text to text."""
    keras.utils.set_random_seed(3)
    encoder = load_encoder("embedded", "float32")
    model = BertClassifier(encoder.backbone, 2)
    model.output_dense.kernel.assign(3.0 * keras.random.normal(model.output_dense.kernel.shape))
    return TrainedModel(
        model, encoder.tokenizer, Classification(["negative", "positive"], "accuracy"), 32
    )


@pytest.fixture(scope="session")
def saved_run(small_classifier, tmp_path_factory):
    """What `finetune` leaves, as far as a model is concerned."""
    run = tmp_path_factory.mktemp("runs") / "sst2"
    run.mkdir()
    save_model(small_classifier, run / "model")
    return run
