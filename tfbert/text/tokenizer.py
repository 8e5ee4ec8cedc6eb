"""The tokenizer of a model: KerasHub's, with the accents handled as in Google's training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras_hub


def make_tokenizer(
    vocabulary: Sequence[str] | str, lowercase: bool
) -> keras_hub.models.BertTokenizer:
    """A KerasHub `BertTokenizer` that strips accents when it lower-cases.

    Google's uncased models were trained that way; KerasHub's presets and its Hugging Face converter
    keep accents, so that "clichés" would become [UNK].

    Args:
        vocabulary: Word pieces, or the path of a file with one a line.
        lowercase: Whether the model is uncased.
    """
    import keras_hub

    return keras_hub.models.BertTokenizer(
        vocabulary=vocabulary, lowercase=lowercase, strip_accents=lowercase
    )
