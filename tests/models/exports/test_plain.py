import numpy as np
from helpers.small_encoder import INPUTS

from tfbert.models.exports.plain import plain_classifier, plain_encoder


def test_the_plain_form_computes_the_same(small_classifier):
    model = small_classifier.model
    inputs = {name: values[:5] % 40 for name, values in INPUTS.items()}  # the sixth has no tokens
    inputs["segment_ids"] = inputs["segment_ids"] % 2
    ours, plain = model.backbone(inputs), plain_encoder(model.backbone)(inputs)
    real = inputs["padding_mask"].astype(bool)
    np.testing.assert_allclose(plain["pooled_output"], ours["pooled_output"], atol=2e-6)
    np.testing.assert_allclose(
        np.asarray(plain["sequence_output"])[real],
        np.asarray(ours["sequence_output"])[real],
        atol=5e-6,
    )
    logits = plain_classifier(model)(inputs)["logits"]
    np.testing.assert_allclose(logits, model(inputs), atol=5e-6)
