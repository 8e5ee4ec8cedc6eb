"""Every private name of Keras that training uses, under a name that says what it is.

`tests/fit/test_keras_internals.py` is the contract: it fails by name on a Keras where one of them
changed. (The optimizers' own use of their base class is covered there as well.)
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras.src.models import model as model_module
from keras.src.trainers import data_adapters
from keras.src.trainers import trainer as trainer_module
from keras.src.trainers.data_adapters import array_slicing
from keras.src.utils import python_utils

from tfbert.optimizers.backend import tf

# The adapter of anything that `fit` takes: `get_tf_dataset`, `num_batches`, epoch hooks.
data_adapter = data_adapters.get_data_adapter
# Whether something is a `tf.data.Dataset`.
is_tf_dataset = data_adapters.is_tf_dataset
# Logs, whose values may be tensors, as Python's numbers.
pythonify_logs = python_utils.pythonify_logs
# (x, y, sample_weight) in two: all but the last `validation_split` of the rows, and those.
split_arrays = array_slicing.train_validation_split
# The mask that a layer put on its output, or None.
keras_mask = keras.src.backend.get_keras_mask
# Whether XLA can compile every layer of a model, and deterministic ops do not forbid it.
supports_xla = trainer_module.model_supports_jit


# A dense tensor as an array; TensorFlow's ragged and sparse ones as they are.
as_numpy: Callable[[Any], Any] = keras.ops.convert_to_numpy
# Tensors one after the other, as a ragged one where their inner shapes differ.
ragged_concatenation: Callable[[list], Any] | None = None
if tf is not None:
    from keras.src.backend.tensorflow import trainer as tensorflow_trainer

    as_numpy = tensorflow_trainer.convert_to_np_if_not_ragged
    ragged_concatenation = tensorflow_trainer.potentially_ragged_concat


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The model and all layers inside it, however deep."""
    return list(model._flatten_layers())


def seed_generators(model: keras.Model) -> list[tuple[str, keras.random.SeedGenerator]]:
    """(place, seed generator) of everything in the model that draws random numbers.

    The place is made of positions: those of the lower layers stay when layers are put on top, and
    names would not do, because Keras numbers unnamed layers as they come.
    """
    found: list[tuple[str, keras.random.SeedGenerator]] = []

    def visit(layer: keras.layers.Layer, place: str) -> None:
        for number, generator in enumerate(getattr(layer, "_seed_generators", [])):
            found.append((f"{place}:{number}", generator))
        for number, child in enumerate(layer._layers):
            visit(child, f"{place}/{number}")

    visit(model, "")
    # A layer that is used in two places draws at one.
    return list({id(generator): (place, generator) for place, generator in found}.values())


def replace_weight(layer: keras.layers.Layer, attribute: str, value: Any) -> None:
    """Puts a weight of another shape in the place of a layer's only one.

    It has the old one's name, path and dtype, and is trained where that was. Functions that were
    traced before, and an optimizer that was built, still have the old one.

    Args:
        attribute: Of the layer, which holds the weight.
        value: NumPy array.
    """
    old = getattr(layer, attribute)
    layer._untrack_variable(old)
    layer._tracker.unlock()
    new = layer.add_weight(value.shape, "zeros", old.dtype, name=old.name, trainable=old.trainable)
    setattr(layer, attribute, new)
    layer._tracker.lock()
    new.assign(value)


def build_from_spec(model: keras.Model, spec: Any) -> None:
    """Creates the variables of model, metrics, loss trackers and optimizer that are not there yet.

    Args:
        spec: Structure of `keras.KerasTensor` as one batch of data: (x, y, sample_weight).
    """
    model._symbolic_build(data_batch=spec)


def loss_terms(model: keras.Model) -> list[Any]:
    """What `compile(loss=...)` became: a list of (path, loss, loss_weights, name), one an output.

    `path` leads to the output in `y_pred` and to its target in `y_true`. Empty without a loss.
    """
    compiled = model._compile_loss
    return [] if compiled is None else list(compiled._flat_losses)


def output_structure(model: keras.Model) -> Any:
    """The containers of the model's outputs, as the loss was built for them; None for a tensor."""
    compiled = model._compile_loss
    return None if compiled is None else compiled._y_pred_build_structure


def loss_trackers(model: keras.Model) -> list[keras.metrics.Mean]:
    """A `keras.metrics.Mean` for each of several loss terms; empty where there is only one."""
    compiled = model._compile_loss
    return [] if compiled is None else list(compiled.metrics)


def total_loss_tracker(model: keras.Model) -> keras.metrics.Mean:
    """The `keras.metrics.Mean` behind `logs["loss"]`."""
    return model._loss_tracker


def own_metrics(model: keras.Model) -> list[keras.metrics.Metric]:
    """`model.metrics` without those of its layers."""
    return list(model._get_own_metrics())


def overrides_compute_metrics(model: keras.Model) -> bool:
    """Whether the model has a `compute_metrics` of its own."""
    return type(model).compute_metrics is not trainer_module.Trainer.compute_metrics


def set_aggregation(variable: keras.Variable, aggregation: str) -> None:
    """Makes a variable that differs from replica to replica what it would be if it had been made
    with that aggregation: `only_first_replica`, for what reads or sets it outside of the replicas.
    """
    variable._aggregation = aggregation
    if tf is not None and isinstance(variable.value, tf.distribute.DistributedValues):
        variable.value._aggregation = variable._map_aggregation(aggregation)


def overrides_compute_loss(model: keras.Model) -> bool:
    """Whether the model has a `compute_loss` of its own."""
    return type(model).compute_loss is not trainer_module.Trainer.compute_loss


def overridden_steps(model: keras.Model) -> list[str]:
    """Which of `train_step`, `test_step` and `predict_step` the model has of its own."""
    stock = model_module.Trainer  # the backend's
    names = ("train_step", "test_step", "predict_step")
    return [name for name in names if getattr(type(model), name) is not getattr(stock, name)]


def strategy_made_in(model: keras.Model) -> Any:
    """The strategy in whose scope the model was made, or None."""
    return model._distribute_strategy


def stateless_values() -> dict[int, Any]:
    """`{id(variable): value}` of the innermost `keras.StatelessScope`; empty outside of any."""
    scope = keras.src.backend.common.stateless_scope.get_stateless_scope()
    return {} if scope is None else dict(scope.state_mapping)


def is_known_dataset(x: Any) -> bool:
    """Whether `x` is an iterable that Keras has a data adapter for."""
    known = (
        data_adapters.is_tf_dataset,
        data_adapters.is_torch_dataloader,
        data_adapters.is_grain_dataset,
    )
    return isinstance(x, keras.utils.PyDataset) or any(is_one(x) for is_one in known)


def value_of(variable: keras.Variable) -> Any:
    """The JAX array that a variable holds; the same object each time."""
    return variable._value


def set_value(variable: keras.Variable, array: Any) -> None:
    """Makes a variable hold a JAX array of its shape and dtype, without a look at it."""
    variable._value = array


def first_batch(adapter: Any) -> Any:
    """The first batch of a `keras.utils.PyDataset`'s adapter; of another adapter None.

    Outside of an epoch its iterator may wait for workers that have not started.
    """
    dataset = getattr(adapter, "py_dataset", None)
    return None if dataset is None else adapter._standardize_batch(dataset[0])


def should_evaluate(model: keras.Model, epoch: int, frequency: int | Sequence[int]) -> bool:
    """Whether `validation_freq` asks for an evaluation after this epoch."""
    return model._should_eval(epoch, frequency)


def initial_epoch(model: keras.Model) -> int | None:
    """Where `keras.callbacks.BackupAndRestore` wants to continue, or None."""
    return model._initial_epoch
