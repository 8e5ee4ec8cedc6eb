"""Which part of an encoder is trained: all of it, or its upper layers alone."""

from tfbert.errors import InputError
from tfbert.models.encoder import BertEncoder


def freeze_lower_layers(backbone, count, dropout=True):
    """Makes the embeddings and the `count` lowest encoder layers untrainable; 0 freezes nothing.

    What is above them stays as trainable as it is. A model is to be compiled anew afterwards.

    Args:
        backbone: A `BertEncoder` or `keras_hub.models.BertBackbone`.
        count: Number of layers.
        dropout: Whether the frozen part drops elements in training. Without it the part computes
            as in an evaluation; for a `BertEncoder` only.

    Raises:
        InputError: If the encoder has fewer layers, or is no `BertEncoder` where it has to be.
    """
    if count > backbone.num_layers:
        raise InputError(
            f"--freeze-layers {count}: the model has only {backbone.num_layers} layers"
        )
    if count:
        embeddings = (
            backbone.token_embedding,
            backbone.position_embedding,
            backbone.segment_embedding,
            backbone.embeddings_layer_norm,
        )
        for layer in (*embeddings, *backbone.transformer_layers[:count]):
            layer.trainable = False
    if isinstance(backbone, BertEncoder):
        for layer in (backbone.embeddings_dropout, *backbone.transformer_layers):
            layer.drops = True
        if count and not dropout:
            for layer in (backbone.embeddings_dropout, *backbone.transformer_layers[:count]):
                layer.drops = False
    elif count and not dropout:
        raise InputError("--frozen-dropout false: dropout cannot be left out of a stock encoder")
