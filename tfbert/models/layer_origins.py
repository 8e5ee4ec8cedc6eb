"""Which layer of a shallower encoder a layer of a deeper one is a copy of."""

import re
import typing
from typing import Any, Literal

GrowthName = Literal["stack", "top", "random"]
SlotsName = Literal["copied", "zeros", "reset"]


def origin_of_layer(layer: int, old: int, new: int, growth: GrowthName) -> int | None:
    """The layer of which a layer of a deeper encoder is a copy.

    Args:
        layer: Number of the layer, from 0.
        old, new: Number of layers before and afterwards.
        growth: `stack`: layer j is a copy of layer j mod `old` (Gong et al. 2019, where `new` is
            twice `old`, and Du et al. 2024, where it is four times `old`; TensorFlow Model Garden
            for others). `top`: the new layers are copies of as many top-most ones, in their order
            (MSLT). `random`: they have new weights.

    Returns:
        A number below `old`, or None for new weights.

    Raises:
        ValueError: If `growth` is not one of these.
    """
    check_name("growth", growth, GrowthName)
    if layer < old:
        return layer
    if growth == "random":
        return None
    if growth == "stack":
        return layer % old
    block = min(new - old, old)
    return old - block + (layer - old) % block


_LAYER = re.compile(r"transformer_layer_(\d+)/")


def origin_of_path(path: str, old: int, new: int, growth: GrowthName) -> str | None:
    """`origin_of_layer` for the path of a variable of the model; other paths stay as they are."""
    match = _LAYER.search(path)
    if not match:
        return path
    layer = origin_of_layer(int(match[1]), old, new, growth)
    if layer is None:
        return None
    return f"{path[: match.start(1)]}{layer}{path[match.end(1) :]}"


def check_name(option: str, value: str, names: Any) -> None:
    """Raises ValueError unless a value is one of a `Literal`'s."""
    if value not in typing.get_args(names):
        raise ValueError(f"{option}={value!r}: must be one of {', '.join(typing.get_args(names))}")
