import keras
import numpy as np
import pytest
from helpers.small_encoder import move_weights
from helpers.small_pretrainer import compiled, random_records, small_pretrainer

from tfbert.fit.dropout_seeds import stateless_dropout, step_key
from tfbert.fit.keras_internals import seed_generators
from tfbert.models.growth import grow, grow_optimizer
from tfbert.models.layer_origins import origin_of_layer
from tfbert.models.sizes import BertSize
from tfbert.optimizers.adamw import AdamW
from tfbert.optimizers.application import ReducingOptimizer
from tfbert.optimizers.lamb import LAMB

# By hand: which old layer each layer of the deeper model begins as; None is new.
ORIGINS = {
    ("stack", 2, 4): [0, 1, 0, 1],
    ("stack", 2, 5): [0, 1, 0, 1, 0],
    ("stack", 3, 5): [0, 1, 2, 0, 1],
    ("stack", 2, 8): [0, 1, 0, 1, 0, 1, 0, 1],
    ("top", 2, 4): [0, 1, 0, 1],
    ("top", 4, 6): [0, 1, 2, 3, 2, 3],
    ("top", 2, 5): [0, 1, 0, 1, 0],
    ("random", 1, 3): [0, None, None],
}
OPTIMIZERS = {
    "lamb": lambda: LAMB(0.01, jit_compile=False),
    "adamw": lambda: AdamW(0.01, jit_compile=False),
    "keras adamw": keras.optimizers.AdamW,
}


def make(layers, **options):
    size = BertSize(layers, hidden_dim=8, num_heads=2, intermediate_dim=16)
    return small_pretrainer(size, **{"dropout": 0.1, **options})


def inner_optimizer(model):
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def trained(optimizer, **options):
    """A model of one layer whose weights and slots are numbers that tell where they are from."""
    model = compiled(make(1, **options), OPTIMIZERS[optimizer]())
    model.optimizer.build(model.trainable_variables)
    random = np.random.default_rng(3)
    for variable in [*model.trainable_variables, *model.optimizer.variables]:
        integer = "int" in variable.dtype
        variable.assign(
            random.integers(1, 3, variable.shape) if integer else random.normal(size=variable.shape)
        )
    inner_optimizer(model).iterations.assign(3)
    return model


def original(path, origins):
    """The path in the shallower model, or None."""
    first, *rest = path.split("/")
    if not first.startswith("transformer_layer_"):
        return path
    layer = origins[int(first.rpartition("_")[2])]
    return None if layer is None else "/".join([f"transformer_layer_{layer}", *rest])


def weights_of(model):
    return {v.path: np.array(v) for v in model.trainable_variables}


def slots_of(model):
    """`{path: {name: array}}`, found by the names of the optimizer's variables."""
    inner = inner_optimizer(model)
    values = {v.path.rpartition("/")[2]: np.array(v) for v in inner.variables}
    names = ["momentum", "velocity"]
    names += ["first_step"] if isinstance(inner, ReducingOptimizer) else []
    return {
        v.path: {name: values[f"{v.path.replace('/', '_')}_{name}"] for name in names}
        for v in model.trainable_variables
    }


@pytest.mark.parametrize(("growth", "old", "new"), ORIGINS)
def test_which_layer_is_copied(growth, old, new):
    origins = [origin_of_layer(layer, old, new, growth) for layer in range(new)]
    assert origins == ORIGINS[growth, old, new]


@pytest.mark.parametrize(("growth", "old", "new"), [("stack", 3, 5), ("random", 1, 3)])
def test_every_carried_weight_is_the_old_one_bit_for_bit(growth, old, new):
    origins = ORIGINS[growth, old, new]
    model = move_weights(make(old), 1.0)
    deeper = grow(model, new, growth)
    before, after = weights_of(model), weights_of(deeper)
    assert deeper.backbone.num_layers == new
    assert {original(path, origins) for path in after} - {None} == before.keys()
    for path, value in after.items():
        source = original(path, origins)
        if source is None:
            assert np.abs(value).max() <= 1, path  # BERT's initial values, not the normal above
        else:
            np.testing.assert_array_equal(value, before[source], path)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_weights_slots_and_counters_after_growth(dtype, optimizer):
    model = trained(optimizer, dtype=dtype)
    deeper = compiled(grow(model, 2), OPTIMIZERS[optimizer]())
    assert grow_optimizer(model, deeper) == []
    assert deeper.backbone.dtype_policy.name == dtype
    weights, slots = weights_of(model), slots_of(model)
    carried = {path: original(path, [0, 0]) for path in weights_of(deeper)}
    np.testing.assert_equal(weights_of(deeper), {k: weights[old] for k, old in carried.items()})
    np.testing.assert_equal(slots_of(deeper), {k: slots[old] for k, old in carried.items()})
    assert {value.dtype for value in weights_of(deeper).values()} == {np.dtype("float32")}
    assert int(deeper.optimizer.iterations) == int(model.optimizer.iterations)
    if dtype == "mixed_float16":
        for name in ("dynamic_scale", "step_counter"):
            new, old = getattr(deeper.optimizer, name), getattr(model.optimizer, name)
            assert float(new) == float(old)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_slots_that_start_from_zeros(optimizer):
    model = trained(optimizer)
    old = slots_of(model)
    for slots, is_fresh in (
        ("zeros", lambda path: path.startswith("transformer_layer_1")),
        ("reset", lambda path: True),
    ):
        deeper = compiled(grow(model, 2), OPTIMIZERS[optimizer]())
        fresh = grow_optimizer(model, deeper, slots=slots)
        assert set(fresh) == {v.path for v in deeper.trainable_variables if is_fresh(v.path)}
        for path, values in slots_of(deeper).items():
            if not is_fresh(path):
                np.testing.assert_equal(values, old[path])
                continue
            # An age of its own, so that the bias of the moments is corrected from 1 on.
            assert values.pop("first_step", 3) == 3
            assert not any(value.any() for value in values.values())
        assert int(deeper.optimizer.iterations) == 3


@pytest.mark.slow
def test_a_deeper_model_trains_on_two_replicas(two_replicas):
    with two_replicas.scope():
        model = compiled(make(1), OPTIMIZERS["lamb"](), seed=1)
    inputs, targets, weights = random_records()
    data = {"x": inputs, "y": targets, "sample_weight": weights, "batch_size": 4, "verbose": 0}
    model.fit(**data)
    with two_replicas.scope():
        deeper = compiled(grow(model, 2), OPTIMIZERS["lamb"](), seed=1)
        grow_optimizer(model, deeper)
    np.testing.assert_equal(
        weights_of(deeper),
        {path: weights_of(model)[original(path, [0, 0])] for path in weights_of(deeper)},
    )
    deeper.fit(**data)
    assert int(np.array(deeper.optimizer.iterations)) == 2


def test_dropout_of_the_old_layers_goes_on():
    def seeds(model):
        places = [place for place, _ in seed_generators(model)]
        with stateless_dropout(model, step_key(1, 2, 3, 0)):
            drawn = [tuple(np.array(g.next())) for _, g in seed_generators(model)]
        return dict(zip(places, drawn, strict=True))

    model = make(2)
    before, after = seeds(model), seeds(grow(model, 4))
    assert len(before) == 1 + 2 * 3
    assert len(set(after.values())) == 1 + 4 * 3
    assert before.items() < after.items()


def test_what_cannot_grow_is_refused():
    model = make(1)
    with pytest.raises(ValueError, match="the model has 1 layers: it cannot grow to 1"):
        grow(model, 1)
    with pytest.raises(ValueError, match="growth='stacked': must be one of stack, top, random"):
        grow(model, 2, "stacked")
    with pytest.raises(ValueError, match="slots='zero': must be one of copied, zeros, reset"):
        grow_optimizer(model, grow(model, 2), slots="zero")
