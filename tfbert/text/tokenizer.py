"""BERT's tokenizer, the way Google's models were trained with it."""


def make_tokenizer(vocabulary, lowercase):
    """A KerasHub `BertTokenizer` that strips accents when it lower-cases.

    Google's uncased models were trained that way; KerasHub's presets and its Hugging Face converter
    leave accents, so that "clichés" would become [UNK].

    Args:
        vocabulary: List of word pieces, or the path of a file with one a line.
        lowercase: Whether the model is uncased.
    """
    import keras_hub

    return keras_hub.models.BertTokenizer(
        vocabulary=vocabulary, lowercase=lowercase, strip_accents=lowercase
    )
