import keras
import numpy as np
import pytest

from tfbert import LAMB
from tfbert.models.distillation.document_pretrainer import DocumentPretrainer
from tfbert.models.pretrainer import make_pretrainer
from tfbert.models.sizes import BertSize
from tfbert.recipes.cost import CostModel
from tfbert.records.batches import examples_of
from tfbert.records.record_options import LossShares

SIZE = BertSize(num_layers=2, hidden_dim=16, num_heads=2, intermediate_dim=32)


@pytest.fixture(params=[0.25, 1.0])
def model(request):
    keras.utils.set_random_seed(0)
    model = DocumentPretrainer(make_pretrainer(SIZE, 50, next_sentence=False), 3, request.param)
    model.compile(
        LAMB(1e-3),
        loss=model.pretraining_losses(),
        loss_weights=model.loss_weights(),
        weighted_metrics=model.pretraining_metrics(),
    )
    return model


@pytest.fixture
def batch():
    """As the reader returns it, with a weight of 0."""
    rng = np.random.default_rng(0)
    return {
        "token_ids": rng.integers(5, 50, (8, 7)),
        "segment_ids": np.zeros((8, 7), np.int32),
        "padding_mask": np.ones((8, 7), np.int32),
        "mask_positions": np.tile(np.array([1, 4], np.int32), (8, 1)),
        "mask_ids": rng.integers(5, 50, (8, 2)),
        "mask_weights": np.ones((8, 2), np.float32),
        "document_vectors": rng.normal(size=(8, 3)).astype(np.float32),
        "document_weights": np.array([1, 1, 1, 1, 1, 0, 1, 1], np.float32),
    }


def test_the_loss_by_hand(model, batch):
    inputs, targets, weights = examples_of(batch, LossShares(documents=model.share))
    outputs = {name: np.asarray(values) for name, values in model(inputs).items()}
    errors = np.square(outputs["document"] - batch["document_vectors"]).mean(axis=1)
    of_documents = np.average(errors, weights=batch["document_weights"])
    expected = model.share * of_documents
    if model.share < 1:
        logits = outputs["mlm"].astype(np.float64)
        logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        chosen = np.take_along_axis(logits, batch["mask_ids"][:, :, None], axis=-1)
        expected += (1 - model.share) * -chosen.mean()
    found = model.evaluate(inputs, targets, sample_weight=weights, return_dict=True, verbose=0)
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    assert ("mlm_accuracy" in found) == (model.share < 1)


def test_everything_it_has_is_trained_and_counted(model, batch):
    inputs, targets, weights = examples_of(batch, LossShares(documents=model.share))
    before = {variable.path: np.array(variable) for variable in model.trainable_variables}
    model.fit(inputs, targets, sample_weight=weights, batch_size=8, epochs=2, verbose=0)
    same = [v.path for v in model.trainable_variables if (np.array(v) == before[v.path]).all()]
    # Keys' biases have no effect: they are as they were up to the decay, which they do not have.
    assert not [path for path in same if "key/bias" not in path]
    assert any("pooled_dense" in path for path in before)
    costs = CostModel.of(model, SIZE.num_layers)
    assert costs.parameters() == sum(np.size(value) for value in before.values())
    model.freeze_lower_layers(1)
    trained = sum(np.size(variable) for variable in model.trainable_variables)
    assert costs.parameters(frozen_layers=1) == trained
