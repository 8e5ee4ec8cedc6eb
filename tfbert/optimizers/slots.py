"""State by the path of the model's variable, in memory and on disk."""

import re
import types
import weakref
from collections.abc import Callable, Collection, Iterable, MutableMapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfbert.optimizers import backend
from tfbert.optimizers.backend import first_free, variable_path
from tfbert.optimizers.carrying import check_pair
from tfbert.optimizers.options import OptimizerOptions


class PathState(OptimizerOptions):
    """A Keras optimizer's slots, found by path, never by Keras' order of variables.

    A subclass names its float32 slots in `slot_names`.

    `build` may be called again, with variables that were frozen before or belong to a grown
    model: what is known by its path and shape keeps its state, the rest starts from zeros, with a
    bias correction of its own. `check_model` is for callers that build on their own account.
    """

    slot_names: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Plain objects on purpose: Keras and TensorFlow track the dictionaries of attributes.
        self._saved_state = SavedState()
        self._slots = types.SimpleNamespace(
            paths={},  # key of a model variable -> path
            by_path={},  # path -> {slot name: optimizer variable}
            owners={},  # path -> reference to the variable that was last bound to it
        )

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the state of those variables that have none yet.

        Args:
            variables: All those of the model that `apply` will be given from now on.

        Raises:
            ValueError: a variable changed its shape, or overwrites itself with its gradient
                (float8), or the optimizer was constructed outside of the model's strategy.
        """
        variables = list(variables)
        first_step = int(ops.convert_to_numpy(self.iterations)) if self.built else 0
        paths = self._paths_for(variables)
        for variable, path in zip(variables, paths, strict=True):
            if getattr(variable, "overwrite_with_gradient", False):
                raise ValueError(f"{path}: float8 variables are not supported")
            shape = tuple(variable.shape)
            known = self._slots.by_path.get(path)
            if known is None:
                with backend.slot_scope(variable, self._iterations):
                    self._slots.by_path[path] = self._new_slots(variable, path, first_step)
            elif tuple(known[self.slot_names[0]].shape) != shape:
                raise ValueError(f"{path}: the state of another shape than {shape} is there")
        # A key may be an id(), so only variables that are held below may have one.
        keys = [self._var_key(v) for v in variables]
        self._slots.paths = dict(zip(keys, paths, strict=True))
        self._slots.owners |= dict(zip(paths, map(weakref.ref, variables), strict=True))
        # In place: to assign a list would make Keras track the model's variables as ours.
        self._trainable_variables.clear()
        self._trainable_variables.extend(variables)
        self.built = True
        self._saved_state.give_to(self)

    def _paths_for(self, variables: Sequence[keras.Variable]) -> list[str]:
        """Paths; what is bound keeps its own, others that share one get `#2`, `#3` in order."""
        bound = [self._slots.paths.get(self._var_key(v)) for v in variables]
        taken, paths = set(bound), []
        for variable, path in zip(variables, bound, strict=True):
            if path is None:
                path = first_free(variable_path(variable), taken)
                taken.add(path)
            paths.append(path)
        return paths

    def _new_slots(
        self, variable: keras.Variable, path: str, first_step: int
    ) -> dict[str, keras.Variable]:
        flat, layout = path.replace("/", "_"), getattr(variable, "_layout", None)
        names = list(self.slot_names)
        names += ["average"] if self.use_ema else []
        names += ["accumulator"] if self.gradient_accumulation_steps else []
        slots = {
            name: self.add_variable(
                variable.shape, "zeros", "float32", layout=layout, name=f"{flat}_{name}"
            )
            for name in names
        }
        constant = keras.initializers.Constant(first_step)
        slots["first_step"] = self.add_variable((), constant, "int", name=f"{flat}_first_step")
        if self.record_statistics:
            slots["trust_ratio"] = self.add_variable(
                (3,), "zeros", "float32", name=f"{flat}_trust_ratio"
            )
        return slots

    def path_of(self, variable: keras.Variable) -> str:
        """The path under which `build` put this variable."""
        return self._slots.paths[self._var_key(variable)]

    def slots_of(self, variable: keras.Variable) -> dict[str, keras.Variable]:
        """`{slot name: optimizer variable}` of one variable of the model."""
        return self._slots.by_path[self.path_of(variable)]

    def all_slots(self) -> Collection[tuple[str, dict[str, keras.Variable]]]:
        """Pairs of path and `{slot name: optimizer variable}`, in the order of creation."""
        return self._slots.by_path.items() if self.built else ()

    def check_known(self, variables: Iterable[keras.Variable]) -> None:
        """Raises ValueError for a variable that `build` has not seen."""
        for variable in variables:
            if self._var_key(variable) not in self._slots.paths:
                raise ValueError(
                    f"{variable_path(variable)} has no state: call "
                    "optimizer.build(model.trainable_variables) after unfreezing or growing; a "
                    "model of its own needs an optimizer of its own"
                )

    def check_model(
        self, trainable: Sequence[keras.Variable], others: Sequence[keras.Variable] = ()
    ) -> None:
        """Raises ValueError where this optimizer has trained another model.

        A second model would go on with the first one's moments and at the end of its schedule.

        Args:
            trainable: Variables of a model that are to be trained.
            others: Its further ones. That one of these was trained before shows that it is the same
                model, of which other layers are frozen now.
        """
        owners = {path: reference() for path, reference in self._slots.owners.items()}
        own = {id(variable) for variable in (*trainable, *others)}
        paths = zip(trainable, self._paths_for(trainable), strict=True)
        is_other = bool(owners) and not any(id(owner) in own for owner in owners.values())
        if is_other or any(owners.get(path, v) is not v for v, path in paths):
            raise ValueError(
                f"{self.name} has trained another model, for "
                f"{int(ops.convert_to_numpy(self.iterations))} updates: make an optimizer for each "
                "model, for example with type(optimizer).from_config(optimizer.get_config()); the "
                "state of a model that has grown is taken over by an explicit "
                "optimizer.build(model.trainable_variables), or by carry_over"
            )

    def carry_over(
        self,
        source: keras.optimizers.Optimizer,
        rename: Callable[[str], str | None] | None = None,
    ) -> list[str]:
        """`tfbert.optimizers.carrying.carry_over` to this optimizer."""
        check_pair(source, self)
        theirs, fresh = dict(source.all_slots()), []
        weights = {self.path_of(v): v for v in self._trainable_variables}
        micro_batches = self.gradient_accumulation_steps or 1
        self._iterations.assign(ops.convert_to_tensor(source.iterations) * micro_batches)
        for path, slots in self.all_slots():
            origin = rename(path) if rename else path
            old = None if origin is None else theirs.get(origin)
            if old is None or any(old[n].shape != slots[n].shape for n in self.slot_names):
                fresh.append(path)
                slots["first_step"].assign(ops.convert_to_tensor(self.iterations))
                continue
            for name in slots.keys() & old.keys():
                slots[name].assign(ops.convert_to_tensor(old[name]))
            if "average" in slots.keys() - old.keys() and path in weights:
                # As at a first update: an average of zeros would end up as the model's weights.
                slots["average"].assign(ops.cast(weights[path], "float32"))
        return fresh

    def _by_key(self) -> dict[str, keras.Variable]:
        """`{key: variable}` of the whole state; "/" would make groups in HDF5."""
        keyed = {"iteration": self._iterations}
        if isinstance(self._learning_rate, keras.Variable):
            keyed["learning_rate"] = self._learning_rate
        for path, slots in self.all_slots():
            keyed |= {f"{name}|{path.replace('/', '|')}": v for name, v in slots.items()}
        return keyed

    def save_own_variables(self, store: MutableMapping) -> None:
        """Writes the state into a Keras store, by slot and path."""
        save_by_key(self._by_key(), store)
        self._saved_state.write(store)

    def load_own_variables(self, store: MutableMapping) -> None:
        """Reads what `save_own_variables` wrote.

        State of variables that are frozen now, or of an optimizer that is not built yet, is kept
        for the `build` with them.

        Raises:
            ValueError: the store is of other variables.
        """
        self._saved_state.values = load_by_key(self._by_key(), store, self.name)

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        """What tf.train.Checkpoint saves: the same keys."""
        return self._by_key()


class SavedState:
    """Loaded values of variables that `build` has not seen yet."""

    def __init__(self) -> None:
        self.values: dict[str, np.ndarray] = {}  # saved key -> array

    def give_to(self, owner: keras.optimizers.Optimizer) -> None:
        """Assigns what waits, here or in a tf.train.Checkpoint, to the variables of `owner`."""
        variables = owner._by_key()
        with backend.outside_of_graphs():
            for key, saved_key in _aligned(list(variables), list(self.values)).items():
                variables[key].assign(self.values.pop(saved_key))
        if hasattr(owner, "_handle_deferred_dependencies"):
            for key, variable in variables.items():
                owner._handle_deferred_dependencies(key, variable)

    def write(self, store: MutableMapping) -> None:
        """Writes what still waits into a Keras store."""
        for key, value in self.values.items():
            store[key] = value


def save_by_key(variables: dict[str, keras.Variable], store: MutableMapping) -> None:
    """Writes `{key: variable}` into a Keras store."""
    for key, variable in variables.items():
        store[key] = ops.convert_to_numpy(variable)


def load_by_key(
    variables: dict[str, keras.Variable], store: MutableMapping, owner: str
) -> dict[str, np.ndarray]:
    """Reads `{key: variable}` from a Keras store.

    A model that is loaded may have lost the name that its variables' paths began with, or
    have got one: a first part that all paths share need not be the same. Nor need the numbers that
    Keras gave to layers without a name, if all keys agree but for them.

    Returns:
        `{saved key: array}` of what is in the store and not among the variables.

    Raises:
        ValueError: a variable is not in the store, or has another shape there.
    """
    saved = list(store.keys())
    pairs = _aligned(list(variables), saved)
    # Without any slot it was saved before it was built, in a model that was never trained.
    was_built = not set(saved) <= {"iteration", "learning_rate"}
    missing = sorted(set(variables) - set(pairs)) if was_built else []
    unknown = set(saved) - set(pairs.values())
    if missing:
        raise ValueError(
            f"the saved state of {owner} is of other variables: {len(missing)} missing "
            f"{missing[:3]}, {len(unknown)} unknown {sorted(unknown)[:3]}"
        )
    for key, saved_key in pairs.items():
        value, variable = store[saved_key], variables[key]
        if tuple(value.shape) != tuple(variable.shape):
            raise ValueError(f"{key} was saved with the shape {tuple(value.shape)}")
        variable.assign(value)
    return {key: np.array(store[key]) for key in unknown}


def _aligned(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """`{our key: their key}` by the reading of the keys that pairs the most of them."""
    best: dict[str, str] = {}
    readings = ((str, str), (str, _without_model), (_without_model, str))
    for our_name, their_name in readings:
        a, b = {our_name(k): k for k in ours}, {their_name(k): k for k in theirs}
        if len(a) == len(ours) and len(b) == len(theirs):
            pairs = {a[k]: b[k] for k in a if k in b}
            best = max(best, pairs, key=len)
    if len(best) < len(ours) == len(theirs):
        for our_name, their_name in readings:
            a, b = _renumbered(ours, our_name), _renumbered(theirs, their_name)
            if a.keys() == b.keys() and len(a) == len(ours):
                return {a[k]: b[k] for k in a}
    return best


def _renumbered(keys: Sequence[str], name_of: Callable[[str], str]) -> dict[str, str]:
    """`{new name: key}`, the numbers of layers beside each other counted from 0.

    Keras counts layers without a name of their own through the whole process: what a layer of one's
    own called `dense_14` is `dense` or `dense_20` when a file is read.
    """
    numbers: dict[tuple[str, ...], set[int]] = {}
    parts = {key: name_of(key).split("|") for key in keys}
    for names in parts.values():
        for i, name in enumerate(names):
            base, number = _base_and_number(name)
            numbers.setdefault((*names[:i], base), set()).add(number)
    ranks = {place: sorted(found) for place, found in numbers.items()}

    def renumbered(names: list[str]) -> str:
        split = [(i, *_base_and_number(name)) for i, name in enumerate(names)]
        return "|".join(f"{b}#{ranks[*names[:i], b].index(n)}" for i, b, n in split)

    return {renumbered(names): key for key, names in parts.items()}


def _base_and_number(name: str) -> tuple[str, int]:
    """`("dense", 14)` of `dense_14`, `("dense", -1)` of `dense`."""
    match = re.fullmatch(r"(.+)_([0-9]+)", name)
    return (match[1], int(match[2])) if match else (name, -1)


def _without_model(key: str) -> str:
    """`momentum|model|dense|kernel` as `momentum|dense|kernel`."""
    return re.sub(r"^([^|]+\|)[^|]+\|", r"\1", key)
