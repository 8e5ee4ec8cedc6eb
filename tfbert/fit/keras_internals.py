"""Every private name of Keras that training leans on, each behind a function that says what it is.

`tests/training/test_keras_internals.py` is the contract: it fails by name on a Keras where one of
them changed. (The optimizers' own use of their base class is covered there as well.)
"""

import keras
from keras.src.backend.tensorflow import trainer as tensorflow_trainer
from keras.src.trainers import trainer as trainer_module
from keras.src.trainers.data_adapters import array_slicing, data_adapter_utils, get_data_adapter
from keras.src.utils.python_utils import pythonify_logs

__all__ = [
    "all_layers",
    "as_numpy",
    "build_from_spec",
    "data_adapter",
    "initial_epoch",
    "keras_mask",
    "loss_terms",
    "loss_trackers",
    "output_structure",
    "overridden_steps",
    "overrides_compute_loss",
    "pythonify_logs",
    "ragged_concatenation",
    "sample_weights_of_classes",
    "seed_generators",
    "should_evaluate",
    "split_arrays",
    "strategy_made_in",
    "supports_xla",
    "total_loss_tracker",
]


def data_adapter(**arguments):
    """Keras' adapter of anything that `fit` takes: `get_tf_dataset`, `num_batches`, epoch hooks."""
    return get_data_adapter(**arguments)


def all_layers(model):
    """The model and all layers inside of it, however deep."""
    return list(model._flatten_layers())


def seed_generators(model):
    """List of (place, `keras.random.SeedGenerator`) of everything in the model that draws.

    The place is made of positions: those of the lower layers stay when layers are put on top, and
    names would not do, because Keras numbers unnamed layers as they come.
    """
    found = []

    def visit(layer, place):
        for number, generator in enumerate(getattr(layer, "_seed_generators", [])):
            found.append((f"{place}:{number}", generator))
        for number, child in enumerate(layer._layers):
            visit(child, f"{place}/{number}")

    visit(model, "")
    # A layer that is used in two places draws at one.
    return list({id(generator): (place, generator) for place, generator in found}.values())


def build_from_spec(model, spec):
    """Creates the variables of model, metrics, loss trackers and optimizer that are not there yet.

    Args:
        spec: Structure of `keras.KerasTensor` as one batch of data: (x, y, sample_weight).
    """
    model._symbolic_build(data_batch=spec)


def loss_terms(model):
    """What `compile(loss=...)` became: a list of (path, loss, loss_weights, name), one an output.

    `path` leads to the output in `y_pred` and to its target in `y_true`. Empty without a loss.
    """
    compiled = model._compile_loss
    return [] if compiled is None else list(compiled._flat_losses)


def output_structure(model):
    """The containers of the model's outputs, as the loss was built for them; None for a tensor."""
    compiled = model._compile_loss
    return None if compiled is None else compiled._y_pred_build_structure


def loss_trackers(model):
    """A `keras.metrics.Mean` for each of several loss terms; empty where there is only one."""
    compiled = model._compile_loss
    return [] if compiled is None else list(compiled.metrics)


def total_loss_tracker(model):
    """The `keras.metrics.Mean` behind `logs["loss"]`."""
    return model._loss_tracker


def overrides_compute_loss(model):
    """Whether the model brings a `compute_loss` of its own."""
    return type(model).compute_loss is not trainer_module.Trainer.compute_loss


def overridden_steps(model):
    """Which of `train_step`, `test_step` and `predict_step` the model brings itself."""
    stock = tensorflow_trainer.TensorFlowTrainer
    names = ("train_step", "test_step", "predict_step")
    return [name for name in names if getattr(type(model), name) is not getattr(stock, name)]


def strategy_made_in(model):
    """The strategy in whose scope the model was made, or None."""
    return model._distribute_strategy


def keras_mask(tensor):
    """The mask that a layer put on its output, or None."""
    return keras.src.backend.get_keras_mask(tensor)


def should_evaluate(model, epoch, frequency):
    """Whether `validation_freq` asks for an evaluation after this epoch."""
    return model._should_eval(epoch, frequency)


def supports_xla(model):
    """Whether every layer can be compiled by XLA, and deterministic ops do not forbid it."""
    return trainer_module.model_supports_jit(model)


def split_arrays(arrays, share):
    """(x, y, sample_weight) in two: all but the last `share` of the rows, and those."""
    return array_slicing.train_validation_split(arrays, validation_split=share)


def sample_weights_of_classes(y, class_weight):
    """The weight of each row by the class of its target."""
    return data_adapter_utils.class_weight_to_sample_weights(y, class_weight)


def initial_epoch(model):
    """Where `keras.callbacks.BackupAndRestore` wants to go on, or None."""
    return model._initial_epoch


def ragged_concatenation(tensors):
    """Tensors one after the other, as a ragged one where their inner shapes differ."""
    return tensorflow_trainer.potentially_ragged_concat(tensors)


def as_numpy(tensor):
    """A dense tensor as an array; ragged and sparse ones as they are."""
    return tensorflow_trainer.convert_to_np_if_not_ragged(tensor)
