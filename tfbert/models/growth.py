"""A deeper model out of a shallower one: its weights, and the state of its optimizer.

Progressive stacking (Gong et al., ICML 2019) copies layer l to l + n; multi-stage layerwise
training (MSLT; Yang et al., arXiv 2011.13635) puts a copy of the top-most block on top.
"""

import re
from typing import Literal

from tfbert.models.encoder import BertEncoder, weights_by_path
from tfbert.optimizers.carrying import carry_over

GrowthName = Literal["stack", "top", "random"]
SlotsName = Literal["copied", "zeros", "reset"]


def grow(model, num_layers, growth="stack"):
    """A deeper `BertPretrainer` that goes on from the weights of a shallower one.

    Embeddings, layers, pooler and heads are carried over bit for bit. All of the deeper model is
    trainable, and it is not compiled. Dropout draws by the place of a layer, so that the old
    layers go on with the masks that they would have had.

    Args:
        model: `BertPretrainer` on a `BertEncoder`. Call this in the `strategy.scope()` that it
            was made in.
        num_layers: Layers of the deeper model.
        growth: What the new layers begin with, see `origin_of_layer`.

    Returns:
        A `BertPretrainer`.

    Raises:
        ValueError: If the model is not shallower.

    Example:

    ```python
    deeper = tfbert.grow(model, 12)
    deeper.compile(tfbert.LAMB(1e-3), loss=deeper.pretraining_losses())
    grow_optimizer(model, deeper)
    ```
    """
    old = model.backbone.num_layers
    if num_layers <= old:
        raise ValueError(f"the model has {old} layers: it cannot grow to {num_layers}")
    config = {**model.backbone.get_config(), "num_layers": num_layers}
    deeper = type(model)(BertEncoder.from_config(config), model.next_sentence, name=model.name)
    values = weights_by_path(model)
    for path, variable in weights_by_path(deeper).items():
        source = origin_of_path(path, old, num_layers, growth)
        if source is not None:
            variable.assign(values[source].value)
    return deeper


def grow_optimizer(model, deeper, growth="stack", slots="copied"):
    """Gives the optimizer of a deeper model the state of the shallower one's.

    Args:
        model: The shallower model, compiled.
        deeper: What `grow` made of it, compiled with an optimizer of the same class: `LAMB`,
            `LARS`, one of Keras' own, or any of these in a `LossScaleOptimizer`.
        growth: As it was given to `grow`.
        slots: What new layers start with: slots `copied` from the layer that their weights are
            from, or `zeros`. With `reset` all slots start from zeros, as in Gong et al. The
            number of updates and the loss scale are carried over in any case.

    Returns:
        List of the paths whose slots start from zeros.
    """
    old, new = model.backbone.num_layers, deeper.backbone.num_layers
    with deeper.distribute_strategy.scope():
        deeper.optimizer.build(deeper.trainable_variables)

    def origin(path):
        if slots == "reset":
            return None
        source = origin_of_path(path, old, new, growth)
        return source if slots == "copied" or source == path else None

    return carry_over(model.optimizer, deeper.optimizer, origin)


def origin_of_layer(layer, old, new, growth):
    """The layer whose copy a layer of a deeper encoder is.

    Args:
        layer: Number of the layer, from 0.
        old: Layers before.
        new: Layers afterwards.
        growth: `stack`: layer j is a copy of layer j mod `old` (Gong et al. 2019, where `new` is
            twice `old`; TensorFlow Model Garden for others). `top`: the new layers are copies of
            as many top-most ones, in their order (MSLT). `random`: they have new weights.

    Returns:
        A number below `old`, or None for new weights.
    """
    if layer < old:
        return layer
    if growth == "random":
        return None
    if growth == "stack":
        return layer % old
    block = min(new - old, old)
    return old - block + (layer - old) % block


_LAYER = re.compile(r"transformer_layer_(\d+)/")


def origin_of_path(path, old, new, growth):
    """`origin_of_layer` for the path of a variable of the model; paths elsewhere stay."""
    match = _LAYER.search(path)
    if not match:
        return path
    layer = origin_of_layer(int(match[1]), old, new, growth)
    if layer is None:
        return None
    return f"{path[: match.start(1)]}{layer}{path[match.end(1) :]}"
