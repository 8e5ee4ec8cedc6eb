"""A deeper model made from a shallower one: its weights, and the state of its optimizer.

Progressive stacking (Gong et al., ICML 2019) copies layer l to l + n, one-shot stacking (Du et al.,
arXiv 2405.15319) to l + n, l + 2n and l + 3n; multi-stage layerwise training (MSLT; Yang et al.,
arXiv 2011.13635) puts a copy of the top-most block on top.
"""

from __future__ import annotations

from tfbert.models.encoder import BertEncoder, weights_by_path
from tfbert.models.layer_origins import GrowthName, SlotsName, check_name, origin_of_path
from tfbert.models.pretrainer import BertPretrainer
from tfbert.optimizers.carrying import carry_over


def grow(model: BertPretrainer, num_layers: int, growth: GrowthName = "stack") -> BertPretrainer:
    """A deeper `BertPretrainer` that continues from the weights of a shallower one.

    Embeddings, layers, pooler and heads are copied bit for bit. All of the deeper model is
    trainable, and it is not compiled. Dropout masks depend on a layer's place, so that those of
    the old layers do not change.

    Args:
        model: On a `BertEncoder`. Call this in the `strategy.scope()` in which it was made.
        num_layers: Layers of the deeper model.
        growth: What the new layers begin with, see `origin_of_layer`.

    Raises:
        ValueError: If the model is not shallower, or `growth` is not one of the names.

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
    deeper = model.on_encoder(BertEncoder.from_config(config))
    values = weights_by_path(model)
    for path, variable in weights_by_path(deeper).items():
        source = origin_of_path(path, old, num_layers, growth)
        if source is not None:
            variable.assign(values[source].value)
    return deeper


def grow_optimizer(
    model: BertPretrainer,
    deeper: BertPretrainer,
    growth: GrowthName = "stack",
    slots: SlotsName = "copied",
) -> list[str]:
    """Copies the state of a shallower model's optimizer to the deeper one's.

    Args:
        model: The shallower model, compiled.
        deeper: What `grow` made of it, compiled with an optimizer of the same class: `AdamW`,
            `LAMB`, `LARS`, one of Keras' own, or any of these in a `LossScaleOptimizer`.
        growth: The same as for `grow`.
        slots: What new layers start with: slots `copied` from the layer that their weights are
            from, or `zeros`. With `reset` all slots start from zeros, as in Gong et al. The
            number of updates and the loss scale are copied in any case.

    Returns:
        List of the paths whose slots start from zeros.

    Raises:
        ValueError: If `growth` or `slots` is not one of the names.
    """
    check_name("slots", slots, SlotsName)
    old, new = model.backbone.num_layers, deeper.backbone.num_layers
    with deeper.distribute_strategy.scope():
        deeper.optimizer.build(deeper.trainable_variables)

    def origin(path):
        if slots == "reset":
            return None
        source = origin_of_path(path, old, new, growth)
        return source if slots == "copied" or source == path else None

    return carry_over(model.optimizer, deeper.optimizer, origin)
