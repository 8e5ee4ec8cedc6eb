import numpy as np
import pytest
from helpers.export_models import TEXTS

from tfbert.models.exports.onnx import OPSET, write_onnx
from tfbert.models.exports.plain import plain_classifier, plain_encoder


@pytest.mark.slow
def test_logits_and_vectors(small_classifier, inputs_of, logits_of, tmp_path):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    path = tmp_path / "model.onnx"
    write_onnx(plain_classifier(small_classifier.model), path)
    assert onnx.load(path).opset_import[0].version == OPSET
    session = runtime.InferenceSession(path)
    shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    assert shapes.pop("logits") == ["batch", 3]
    assert set(shapes) == {"token_ids", "segment_ids", "padding_mask"}
    assert all(shape == ["batch", "tokens"] for shape in shapes.values())
    for texts in (TEXTS, TEXTS[:2]):
        (logits,) = session.run(["logits"], inputs_of(texts))
        np.testing.assert_allclose(logits, logits_of(texts), atol=1e-5)
    # With vectors as outputs.
    write_onnx(plain_encoder(small_classifier.model.backbone), path)
    (pooled,) = runtime.InferenceSession(path).run(["pooled_output"], inputs_of(TEXTS))
    vectors = small_classifier.model.backbone(inputs_of(TEXTS))
    np.testing.assert_allclose(pooled, vectors["pooled_output"], atol=1e-5)
