import keras
import pytest

from tfbert.models.classifier import BertClassifier, TrainedClassifier, save_classifier
from tfbert.models.sources import load_encoder


@pytest.fixture(scope="session")
def small_classifier():
    """The embedded encoder with a head that was not trained: answers differ from text to text."""
    keras.utils.set_random_seed(3)
    encoder = load_encoder("embedded", "float32")
    model = BertClassifier(encoder.backbone, 2)
    model.output_dense.kernel.assign(3.0 * keras.random.normal(model.output_dense.kernel.shape))
    return TrainedClassifier(model, encoder.tokenizer, ["negative", "positive"], 32)


@pytest.fixture(scope="session")
def saved_run(small_classifier, tmp_path_factory):
    """What `finetune` leaves, as far as a model is concerned."""
    run = tmp_path_factory.mktemp("runs") / "sst2"
    run.mkdir()
    save_classifier(small_classifier, run / "model")
    return run
