"""Settings in which BERTs differ apart from their size; reading this module imports no Keras."""

from typing import Literal

LAYER_NORM_EPSILON = 1e-12  # BERT's own
ActivationName = Literal["gelu", "gelu_tanh"]
