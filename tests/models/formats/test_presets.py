import json

import keras_hub
import numpy as np
import pytest
from helpers.foreign_models import VARIANTS, copy_variant, reference

from tfbert.errors import InputError
from tfbert.models.classifier import BertClassifier
from tfbert.models.encoder import BertEncoder
from tfbert.models.formats.presets import SETTINGS_FILE
from tfbert.models.pretrainer import load_pretrainer, save_pretrainer
from tfbert.models.sources import load_encoder
from tfbert.models.trained_model import TrainedModel, load_model, save_model
from tfbert.tasks.problems.classification import Classification


def test_a_saved_classifier_is_opened_as_it_was(tmp_path, caplog):
    inputs, _ = reference("encoder_without_pooler")
    source = copy_variant("encoder_without_pooler", tmp_path / "source", layer_norm_eps=1e-3)
    config = {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    encoder = load_encoder(str(source))
    model = BertClassifier(encoder.backbone, 2)
    trained = TrainedModel(model, encoder.tokenizer, Classification(["bad", "good"], "accuracy"), 8)
    with caplog.at_level("INFO", "tfbert"):
        save_model(trained, tmp_path / "saved")
    assert caplog.text.count("which a KerasHub preset cannot hold") == 1
    loaded = load_model(str(tmp_path / "saved"))
    assert loaded.model.backbone.activation == "gelu"
    np.testing.assert_array_equal(loaded.model(inputs), model(inputs))
    for name in ("lowercase", "strip_accents", "tokenize_chinese_chars"):
        assert getattr(loaded.tokenizer, name) == getattr(encoder.tokenizer, name)
    stock = keras_hub.models.TextClassifier.from_preset(str(tmp_path / "saved"))
    assert not np.allclose(stock(inputs), model(inputs), atol=1e-7)  # tanh


def test_a_saved_pretrainer_and_encoder_are_opened_as_they_were(tmp_path):
    inputs, expected = reference("pretraining")
    model, tokenizer = load_pretrainer(str(VARIANTS / "pretraining"))
    save_pretrainer(model, tokenizer, tmp_path / "heads")
    model.backbone.save_to_preset(str(tmp_path / "encoder"))
    everywhere = np.broadcast_to(np.arange(9, dtype="int32"), (3, 9))
    again, _ = load_pretrainer(str(tmp_path / "heads"))
    outputs = again({**inputs, "mask_positions": everywhere})
    np.testing.assert_allclose(outputs["mlm"], expected["mlm"], atol=1e-4)
    encoder = BertEncoder.from_preset(str(tmp_path / "encoder"))
    found = encoder(inputs)["sequence_output"]
    np.testing.assert_allclose(found, expected["sequence_output"], atol=1e-4)
    with pytest.raises(InputError, match=r"not a KerasHub preset; tfbert\.load_encoder"):
        BertEncoder.from_preset(str(VARIANTS / "pretraining"))


@pytest.mark.parametrize("content", ["[]", '{"encoder": {"activation": "relu"}}', "{{"])
def test_damaged_settings_are_named(tmp_path, content):
    load_encoder("embedded").backbone.save_to_preset(str(tmp_path / "preset"))
    (tmp_path / "preset" / SETTINGS_FILE).write_text(content)
    with pytest.raises(InputError, match=r"tfbert\.json: damaged"):
        BertEncoder.from_preset(str(tmp_path / "preset"))
