"""Words for types that have no class of their own."""

from typing import Any, TypeAlias

# A tensor or variable of the backend that Keras runs on; shapes and dtypes are in the docstrings.
Tensor: TypeAlias = Any
