"""Frozen means free: what a traced update does for embeddings and layers that are left alone."""

import numpy as np
import pytest
import tensorflow as tf
from helpers.graph_flops import graph_flops
from helpers.small_pretrainer import compiled, small_pretrainer

from tfbert.models.sizes import BertSize
from tfbert.optimizers.lamb import LAMB
from tfbert.recipes.flops import training_flops

SIZES = {layers: BertSize(layers, 24, 2, 40) for layers in (2, 3)}
LENGTH, PREDICTIONS, VOCABULARY, BATCH = 16, 5, 90, 2
FROZEN = ("token_embedding", "position_embedding", "segment_embedding", "embeddings_layer_norm")
FROZEN += ("embeddings_add", "embeddings_dropout", "transformer_layer_0", "transformer_layer_1")


def traced(layers, dropout):
    """A model whose two lower layers are frozen, and the graph of an update."""
    model = small_pretrainer(
        SIZES[layers], vocabulary_size=VOCABULARY, max_sequence_length=LENGTH, dropout=0.1
    )
    model.freeze_lower_layers(2, dropout=dropout)
    compiled(model, LAMB(0.01, max_grad_norm=1.0, jit_compile=False))
    with model.distribute_strategy.scope():
        everything = [*model.trainable_variables, *model.non_trainable_variables]
        model.optimizer.build([v for v in everything if "seed_generator" not in v.path])
    # Zeros: shapes are all that is looked at.
    ids = np.zeros((BATCH, LENGTH), "int32")
    inputs = dict.fromkeys(("token_ids", "segment_ids", "padding_mask"), ids)
    inputs["mask_positions"] = np.zeros((BATCH, PREDICTIONS), "int32")
    arrays = inputs, {"mlm": inputs["mask_positions"], "nsp": np.zeros(BATCH, "int32")}
    dataset = tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH, drop_remainder=True)
    iterator = next(model._prepare(dataset).executions(1)).iterator
    return model, model.make_train_function().one_step.get_concrete_function(iterator)


@pytest.fixture(scope="module")
def upper_third():
    """A model of which only the top layer and the heads are trained, and the graph of an update."""
    return traced(3, dropout=False)


@pytest.fixture(scope="module")
def heads_alone():
    """The graph of an update of the heads, where the frozen part drops elements."""
    return traced(2, dropout=True)[1]


def part_of(operation):
    """The frozen layer that an operation of the forward pass belongs to, or None."""
    path = operation.name.split("/")
    return next((name for name in FROZEN for scope in path if scope.startswith(name)), None)


def test_no_operation_of_the_backward_pass_is_a_frozen_layers(upper_third):
    operations = upper_third[1].graph.get_operations()
    backward = [op for op in operations if op.name.startswith("gradient_tape/")]
    assert backward
    assert {part_of(op) for op in backward} == {None}


def test_products_are_those_of_the_cost_model(upper_third, heads_alone):
    head = 2 * PREDICTIONS * LENGTH * 24  # a gather as a product, not counted, and its gradient
    mask = 2 * 2 * LENGTH**2  # of a layer, with two heads: one more column, not counted
    for function, layers, uncounted in (
        (upper_third[1], 3, 2 * head + (3 + 2) * mask),
        (heads_alone, 2, head + 2 * mask),
    ):
        counted = training_flops(SIZES[layers], VOCABULARY, LENGTH, PREDICTIONS, frozen_layers=2)
        assert graph_flops(function) == BATCH * (counted.total + uncounted)


def test_of_the_frozen_part_only_its_output_is_kept(upper_third):
    """Whatever the backward pass needs must leave the frozen part: one tensor does."""
    crossing = {
        tensor.name
        for op in upper_third[1].graph.get_operations()
        if part_of(op) is None
        for tensor in op.inputs
        if part_of(tensor.op) is not None and tensor.dtype.is_floating and tensor.shape.rank
    }
    (name,) = crossing
    assert "transformer_layer_1" in name
    assert "feedforward_layer_norm" in name


def test_only_what_is_trained_is_updated(upper_third):
    model, function = upper_third
    handles = {id(inner): id(outer) for outer, inner in function.graph.captures}
    assigned = {
        handles[id(op.inputs[0])]
        for op in function.graph.get_operations()
        if op.type.startswith("Assign")
    }
    written = {
        v.path
        for v in [*model.variables, *model.optimizer.variables]
        if id(v.value.handle) in assigned
    }
    trained = {v.path for v in model.trainable_variables}
    upper = {"transformer_layer_2", "pooled_dense", "mlm_head", "nsp_head"}
    assert {path.split("/")[0] for path in trained} == upper
    slots = {
        f"lamb/{path.replace('/', '_')}_{slot}"
        for path in trained
        for slot in ("momentum", "velocity")
    }
    assert written == trained | slots | {"lamb/iteration"}


def test_masks_are_drawn_for_what_drops(upper_third, heads_alone):
    for function, count in (
        (upper_third[1], 3),  # attention and two residuals of the top layer
        (heads_alone, 1 + 2 * 3),
    ):
        drawn = [op for op in function.graph.get_operations() if "StatelessRandom" in op.type]
        assert len(drawn) == 2 * count  # another operation scrambles the seed
