"""Words for types that have no class of their own."""

from typing import Any, Literal, TypeAlias

# A tensor or variable of the backend that Keras runs on; shapes and dtypes are in the docstrings.
Tensor: TypeAlias = Any

# BERT's activation: GELU by the error function, or by its approximation with tanh.
ActivationName = Literal["gelu", "gelu_tanh"]
