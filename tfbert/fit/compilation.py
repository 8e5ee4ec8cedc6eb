"""What `compile` makes of its arguments, by the model and the devices that it is on."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from tfbert.fit import keras_internals
from tfbert.fit.replica_metrics import check_metrics_of_layers
from tfbert.hardware.strategies import current_strategy, replica_devices
from tfbert.optimizers.adamw import AdamW
from tfbert.optimizers.application import ReducingOptimizer
from tfbert.optimizers.lamb import LAMB
from tfbert.optimizers.loss_scale import LossScaleOptimizer, innermost

# A mixin: the methods that it calls are those of the Keras model that it is combined with.
if TYPE_CHECKING:
    from keras import Model as _Base
else:
    _Base = object

_OPTIMIZERS = {"adamw": AdamW, "lamb": LAMB}

# Parameters from which on XLA's faster updates are worth the seconds of compilation: with fewer, an
# update takes milliseconds either way.
_WORTH_COMPILING = 4_000_000


def make_optimizer(
    name: str, model: keras.Model, learning_rate: Any, **options: Any
) -> ReducingOptimizer:
    """An optimizer for all weights of a model.

    Args:
        name: `adamw` or `lamb`.
        learning_rate, **options: Arguments of `tfbert.AdamW` or `tfbert.LAMB`.
    """
    worth_it = model.count_params() >= _WORTH_COMPILING
    return _OPTIMIZERS[name](learning_rate, jit_compile=worth_it, **options)


def resolve_jit_compile(model: keras.Model, jit_compile: bool | str) -> bool:
    """Whether XLA is to compile the replicas' work.

    Args:
        model: A model whose `run_eagerly` is set.
        jit_compile: True, False, or `"auto"`: where all replicas are GPUs.
    """
    if not jit_compile or model.run_eagerly or not keras_internals.supports_xla(model):
        return False
    return jit_compile is True or all(
        "GPU" in device for device in replica_devices(model.distribute_strategy)
    )


def scaled(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer, inside our `LossScaleOptimizer` if a layer computes in float16."""
    if isinstance(optimizer, LossScaleOptimizer):
        return optimizer
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "keras.optimizers.LossScaleOptimizer corrupts weights under a strategy: give "
            "tfbert.LossScaleOptimizer, or the optimizer inside of it alone"
        )
    layers = keras_internals.all_layers(model)
    if any(layer.compute_dtype == "float16" for layer in layers):
        return LossScaleOptimizer(optimizer)
    return optimizer


def build_optimizer(model: keras.Model) -> None:
    """Makes the state that one of our optimizers lacks: of layers that were frozen when it was
    built.

    Raises:
        ValueError: If it has trained another model.
    """
    if isinstance(model.optimizer, (ReducingOptimizer, LossScaleOptimizer)):
        inner = innermost(model.optimizer)
        if isinstance(inner, ReducingOptimizer):
            inner.check_model(model.trainable_variables, model.variables)
        model.optimizer.build(model.trainable_variables)


def check_accumulation(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, accumulate_steps: int
) -> None:
    """Raises ValueError where the optimizer's own accumulation would fail, or act a second time."""
    inner = innermost(optimizer)
    replicas = model.distribute_strategy.num_replicas_in_sync
    stock = not isinstance(inner, ReducingOptimizer)
    if replicas > 1 and stock and getattr(inner, "ema_overwrite_frequency", None):
        raise ValueError(
            f"{type(inner).__name__}(ema_overwrite_frequency=...) fails under a strategy: use "
            "tfbert.AdamW, tfbert.LAMB or tfbert.LARS"
        )
    if not getattr(inner, "gradient_accumulation_steps", None):
        return
    if accumulate_steps > 1 or (replicas > 1 and stock):
        raise ValueError(
            f"{type(inner).__name__}(gradient_accumulation_steps=...): give "
            "compile(accumulate_steps=...) instead, which reduces once an update"
        )


def check_order_of_bases(model_class: type, mixin: type) -> None:
    """Raises TypeError for a model class whose `fit` would be Keras' in spite of the mixin."""
    order = model_class.mro()
    if keras.Model in order and order.index(keras.Model) < order.index(mixin):
        bases = ", ".join(base.__name__ for base in model_class.__bases__)
        raise TypeError(
            f"class {model_class.__name__}({bases}): Keras' own fit would train it; write "
            f"{mixin.__name__} first, before the Keras class"
        )


def check_compile(model: keras.Model, accumulate_steps: int, steps_per_execution: int) -> None:
    """Raises ValueError for what `DistributedTrainer.compile` cannot train with."""
    given = {"accumulate_steps": accumulate_steps, "steps_per_execution": steps_per_execution}
    for name, value in given.items():
        if isinstance(value, bool) or value != int(value) or value < 1:
            raise ValueError(f"{name} must be a whole number, at least 1: {value}")
    made_in = keras_internals.strategy_made_in(model)
    if current_strategy() not in (None, made_in):
        raise ValueError("compile the model in the strategy.scope() in which it was made")
    for name in keras_internals.overridden_steps(model):
        raise ValueError(
            f"{type(model).__name__}.{name} would never be called: the loop of DistributedTrainer "
            "divides batches by itself; override compute_loss, or leave out the mixin"
        )


def check_division(model: keras.Model) -> None:
    """Raises ValueError where results would depend on how a batch is divided, if it is divided."""
    if model.distribute_strategy.num_replicas_in_sync * model.accumulate_steps == 1:
        return
    for layer in keras_internals.all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            raise ValueError(
                f"{layer.name}: BatchNormalization would normalise each part of the batch by "
                "itself; use LayerNormalization, or one replica and accumulate_steps=1"
            )
    if model.distribute_strategy.num_replicas_in_sync > 1:
        check_metrics_of_layers(model)
    for term in keras.tree.flatten(getattr(model, "loss", None)):
        if isinstance(term, keras.losses.Dice | keras.losses.Tversky):
            raise ValueError(
                f"{term.name} is a ratio over the whole batch and cannot be divided: use one "
                "replica and accumulate_steps=1"
            )


def with_defaults(compile: Callable[..., Any], *given: Any) -> list[Any]:
    """Optimizer, loss and metrics, where each "auto" is the default of the `compile` below ours.

    That is Keras' own, or "auto" once more in a KerasHub task, which then chooses.
    """
    parameters = inspect.signature(compile).parameters
    return [
        parameters[name].default if isinstance(value, str) and value == "auto" else value
        for name, value in zip(("optimizer", "loss", "metrics"), given, strict=True)
    ]


class SavedCompilation(_Base):
    """The part of `DistributedTrainer` that a `.keras` file restores."""

    def get_compile_config(self) -> dict[str, Any]:
        """All arguments of `compile`, so that a `.keras` file restores them."""
        if not self.compiled:
            return {}
        return keras.saving.serialize_keras_object(vars(self._compile_arguments))

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says, and makes the optimizer's state to be loaded."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
