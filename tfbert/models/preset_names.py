"""The names of KerasHub's BERT presets, so that a wrong one is refused before KerasHub is imported.

That import takes seconds. A KerasHub that is newer than the list may have more, and is asked.
"""

import importlib.metadata
import sys
from collections.abc import Collection

_KERAS_HUB = (0, 32)  # the version of the list
_NAMES = (
    "bert_tiny_en_uncased",
    "bert_small_en_uncased",
    "bert_medium_en_uncased",
    "bert_base_en_uncased",
    "bert_base_en",
    "bert_base_zh",
    "bert_base_multi",
    "bert_large_en_uncased",
    "bert_large_en",
    "bert_tiny_en_uncased_sst2",
    "all_minilm_l6_v2_en",
    "all_minilm_l6_v1_en",
    "all_minilm_l12_v2_en",
    "paraphrase_minilm_l3_v2_en",
    "paraphrase_minilm_l6_v2_en",
    "paraphrase_minilm_l12_v2_en",
    "multi_qa_minilm_l6_cos_v1_en",
    "multi_qa_minilm_l6_dot_v1_en",
    "msmarco_minilm_l6_cos_v5_en",
    "msmarco_minilm_l12_cos_v5_en",
    "bge_small_en",
    "bge_base_en",
    "bge_large_en",
    "bge_small_v1.5_en",
    "bge_base_v1.5_en",
    "bge_large_v1.5_en",
    "bge_base_zh",
    "bge_large_zh",
    "bge_small_v1.5_zh",
    "bge_base_v1.5_zh",
    "bge_large_v1.5_zh",
    "bge_llm_embedder",
    "multilingual_e5_small",
    "mxbai_embed_large_v1_en",
    "mxbai_embed_2d_large_v1_en",
    "mxbai_embed_xsmall_v1_en",
)


def is_preset(name: str) -> bool:
    """Whether KerasHub has a BERT preset of this name."""
    return name in _NAMES or name in preset_names()


def preset_names() -> Collection[str]:
    """All names: those of the installed KerasHub, if it is imported already or may have more."""
    version = importlib.metadata.version("keras-hub").split(".")[:2]
    if "keras_hub" not in sys.modules and tuple(map(int, version)) <= _KERAS_HUB:
        return _NAMES
    import keras_hub

    return keras_hub.models.BertBackbone.presets
