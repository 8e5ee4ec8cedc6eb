"""What `keras.json` says stays out of what the package makes (and tests/fit/test_trainer.py)."""

import keras
import pytest
from helpers.small_pretrainer import small_pretrainer

import tfbert
from tfbert.keras_settings import keras_defaults
from tfbert.models.sizes import BertSize
from tfbert.models.trained_model import save_model


def settings():
    config = keras.config
    policy = config.dtype_policy().name
    return config.floatx(), policy, config.epsilon(), config.image_data_format()


@pytest.fixture
def settings_of_a_user():
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy("mixed_float16")
    keras.config.set_epsilon(0.1)
    keras.config.set_image_data_format("channels_first")
    yield settings()
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


def test_they_are_keras_own_inside_and_the_users_after_it(settings_of_a_user):
    with pytest.raises(KeyError), keras_defaults():
        assert settings() == ("float32", "float32", 1e-7, "channels_last")
        raise KeyError
    assert settings() == settings_of_a_user == ("float16", "mixed_float16", 0.1, "channels_first")


def test_saved_models_losses_and_rates_know_nothing_of_them(
    classifier, tmp_path, settings_of_a_user
):
    save_model(classifier, tmp_path / "preset")
    files = list((tmp_path / "preset").rglob("*.json"))
    assert any(file.name == "preprocessor.json" for file in files)
    assert [file.name for file in files if "float16" in file.read_text()] == []
    model = small_pretrainer(BertSize(1, 8, 2, 16))
    losses, metrics = model.pretraining_losses(), model.pretraining_metrics()
    assert {loss.dtype for loss in losses.values()} == {"float32"}
    assert {m.dtype for m in keras.tree.flatten(metrics)} == {"float32"}
    assert {v.dtype for v in tfbert.AdamW(2e-5).variables} <= {"float32", "int32", "int64"}
    assert settings() == settings_of_a_user
