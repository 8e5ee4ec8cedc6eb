import warnings

import numpy as np
import pytest
import tensorflow as tf
from helpers.export_models import TEXTS

from tfbert.models.exports.litert import write_litert
from tfbert.models.exports.plain import plain_classifier, plain_encoder


def test_logits(small_classifier, inputs_of, logits_of, tmp_path):
    write_litert(plain_classifier(small_classifier.model), tmp_path / "model.tflite")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own copy of the interpreter goes away
        interpreter = tf.lite.Interpreter(str(tmp_path / "model.tflite"))
    run = interpreter.get_signature_runner("serving_default")
    for texts in (TEXTS, TEXTS[:2]):  # other numbers of texts and tokens
        logits = run(**inputs_of(texts))["logits"]
        np.testing.assert_allclose(logits, logits_of(texts), atol=1e-5)


@pytest.mark.slow
def test_the_runtime_of_its_own_package(small_classifier, inputs_of, tmp_path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    write_litert(plain_encoder(small_classifier.model.backbone), tmp_path / "model.tflite")
    run = litert.Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()
    vectors = small_classifier.model.backbone(inputs_of(TEXTS))
    np.testing.assert_allclose(
        run(**inputs_of(TEXTS))["pooled_output"], vectors["pooled_output"], atol=1e-5
    )
