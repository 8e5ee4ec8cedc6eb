import importlib.metadata

import keras_hub

from tfbert.models import preset_names
from tfbert.models.preset_names import is_preset


def test_the_list_is_that_of_keras_hub():
    theirs = set(keras_hub.models.BertBackbone.presets)
    version = tuple(map(int, importlib.metadata.version("keras-hub").split(".")[:2]))
    ours = set(preset_names._NAMES)
    if version <= preset_names._KERAS_HUB:
        assert theirs <= ours
    if version >= preset_names._KERAS_HUB:
        assert ours <= theirs
    assert is_preset("bert_tiny_en_uncased") and not is_preset("bert_huge")
