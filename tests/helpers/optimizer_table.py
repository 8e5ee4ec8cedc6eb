"""The table of optimizers that drives the shared tests: a new row inherits all of them."""

import contextlib

import keras
import numpy as np
import pytest
from helpers.optimizer_reference import AdamwReference, LambReference, LarsReference
from keras import ops

import tfbert
from tfbert.optimizers import backend

# name: (class, constructor's arguments, reference)
TABLE = {
    "adamw": (tfbert.AdamW, {}, AdamwReference),
    "adamw-all-decayed": (tfbert.AdamW, {"exclude_from_weight_decay": None}, AdamwReference),
    "lamb": (tfbert.LAMB, {}, LambReference),
    "lamb-decay-0": (tfbert.LAMB, {"weight_decay": 0.0}, LambReference),
    "lamb-decay-0.1": (tfbert.LAMB, {"weight_decay": 0.1}, LambReference),
    "lamb-betas": (tfbert.LAMB, {"beta_1": 0.0, "beta_2": 0.5, "epsilon": 1e-3}, LambReference),
    "lamb-raw-moments": (tfbert.LAMB, {"bias_correction": False}, LambReference),
    "lamb-clipped": (tfbert.LAMB, {"max_grad_norm": 1.0}, LambReference),
    "lamb-clipnorm": (tfbert.LAMB, {"clipnorm": 0.5}, LambReference),
    "lamb-clipvalue": (tfbert.LAMB, {"clipvalue": 0.1}, LambReference),
    "lamb-phi": (tfbert.LAMB, {"weight_norm_bounds": (0.5, 2.0)}, LambReference),
    "lambc": (tfbert.LAMB, {"trust_ratio_bounds": (0.0, 1.0)}, LambReference),
    "lamb-all-adapted": (tfbert.LAMB, {"exclude_from_layer_adaptation": []}, LambReference),
    "lamb-all-decayed": (tfbert.LAMB, {"exclude_from_weight_decay": []}, LambReference),
    "lars": (tfbert.LARS, {}, LarsReference),
    "lars-no-momentum": (tfbert.LARS, {"momentum": 0.0, "weight_decay": 0.1}, LarsReference),
    "lars-clipped": (tfbert.LARS, {"max_grad_norm": 1.0}, LarsReference),
}

every_optimizer = pytest.mark.parametrize("name", TABLE)
# The three forms of an update: operation by operation; compiled, which on a CPU is TensorFlow's
# kernels; and compiled by XLA, as on a GPU, which takes seconds for each optimizer.
with_xla = pytest.mark.parametrize(
    "jit_compile",
    ["plain", "in place", pytest.param("xla", marks=pytest.mark.slow)],
    indirect=True,
)


def by_xla(monkeypatch):
    """Has XLA compile updates on a CPU, too."""
    monkeypatch.setattr(backend, "all_update_in_place", lambda variables: False)


# Our optimizers by themselves, and inside of loss scaling.
scaled_or_not = pytest.mark.parametrize(
    "wrap", [lambda o: o, tfbert.LossScaleOptimizer], ids=["plain", "scaled"]
)

SHAPES = {
    "dense/kernel": (4, 3),
    "dense/bias": (3,),
    "norm/gamma": (5,),
    "embeddings": (6, 2, 2),
    "temperature": (),
}


def make(row, **overrides):
    """A fresh optimizer of the table, not compiled by XLA unless asked for."""
    cls, options, _ = TABLE[row]
    return cls(**{"learning_rate": 0.02, "jit_compile": False, **options, **overrides})


def make_reference(row, weights, **overrides):
    """The same optimizer in float64."""
    _, options, reference = TABLE[row]
    return reference(weights, **{"learning_rate": 0.02, **options, **overrides})


def variables_of(values, dtype="float32"):
    """`{path: keras.Variable}` of `{path: array}`."""
    variables = {}
    for path, value in values.items():
        *scopes, name = path.split("/")
        with keras.name_scope(scopes[0]) if scopes else contextlib.nullcontext():
            variables[path] = keras.Variable(np.asarray(value, "float32"), dtype=dtype, name=name)
        assert variables[path].path == path
    return variables


def random_arrays(seed, shapes=None, scale=1.0):
    """`{path: float32 array}` of normal values."""
    random = np.random.RandomState(seed)
    shapes = SHAPES if shapes is None else shapes
    return {k: np.asarray(scale * random.normal(size=s), "float32") for k, s in shapes.items()}


def apply(optimizer, gradients, variables):
    """One update; `gradients` and `variables` by path, a missing gradient is None."""
    tensors = [
        None if (g := gradients.get(k)) is None else ops.convert_to_tensor(g) for k in variables
    ]
    optimizer.apply(tensors, list(variables.values()))


def values_of(variables):
    """`{path: float64 array}` of `{path: keras.Variable}`."""
    return {k: np.asarray(ops.convert_to_numpy(v), "float64") for k, v in variables.items()}


def relative_error(a, b):
    """||a - b|| / ||b|| over all arrays of two dictionaries with the same names."""
    assert a.keys() == b.keys()
    difference = sum(((np.float64(a[k]) - b[k]) ** 2).sum() for k in a)
    return float(np.sqrt(difference / sum((np.float64(b[k]) ** 2).sum() for k in b)))


class Pair:
    """An optimizer of the table and its float64 reference, trained in step.

    Args:
        row: Name in the table.
        initial: `{path: array}`, or None for random ones.
        dtype: Of the variables.
        optimizer: What takes the row's place, or None.
        **options: For the optimizer alone.
    """

    def __init__(self, row, initial=None, dtype="float32", optimizer=None, **options):
        self.initial = random_arrays(0) if initial is None else initial
        self.variables = variables_of(self.initial, dtype)
        self.optimizer = make(row, **options) if optimizer is None else optimizer
        self.reference = make_reference(row, self.initial)

    def step(self, gradients, factor=1.0):
        """One update of both; the optimizer gets the gradients times `factor`."""
        apply(self.optimizer, {k: factor * g for k, g in gradients.items()}, self.variables)
        self.reference.step(gradients)

    def train(self, steps, shapes=None, scale=1.0, seed=0):
        """Updates of both with random gradients."""
        for step in range(steps):
            self.step(random_arrays(seed + step + 1, shapes, scale))

    def error(self):
        """Relative distance of the weights."""
        return relative_error(values_of(self.variables), self.reference.weights)
