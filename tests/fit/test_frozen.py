"""Frozen means free: what a traced update does for embeddings and layers that are left alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.graph_flops import graph_flops

from tfbert.errors import InputError
from tfbert.models.encoder import BertEncoder, freeze_lower_layers, to_stock
from tfbert.models.pretrainer import make_pretrainer
from tfbert.models.sizes import BertSize
from tfbert.optimizers.lamb import LAMB
from tfbert.recipes.flops import training_flops

SIZE = BertSize(num_layers=3, hidden_dim=24, num_heads=2, intermediate_dim=40)
LENGTH, PREDICTIONS, VOCABULARY, BATCH = 16, 5, 90, 2
FROZEN = ("token_embedding", "position_embedding", "segment_embedding", "embeddings_layer_norm")
FROZEN += ("embeddings_add", "embeddings_dropout", "transformer_layer_0", "transformer_layer_1")


def arrays():
    """One batch of zeros: shapes are all that is looked at."""
    ids = np.zeros((BATCH, LENGTH), "int32")
    inputs = dict.fromkeys(("token_ids", "segment_ids", "padding_mask"), ids)
    inputs["mask_positions"] = np.zeros((BATCH, PREDICTIONS), "int32")
    targets = {"mlm": inputs["mask_positions"], "nsp": np.zeros(BATCH, "int32")}
    return inputs, targets


def make(layers=3, rematerialize=False):
    return make_pretrainer(
        BertSize(layers, *(SIZE.hidden_dim, SIZE.num_heads, SIZE.intermediate_dim)),
        VOCABULARY,
        max_sequence_length=LENGTH,
        rematerialize=rematerialize,
    )


def traced(model):
    """The graph of one update of a compiled model."""
    model.compile(
        LAMB(0.01, max_grad_norm=1.0, jit_compile=False),
        loss=model.pretraining_losses(),
        weighted_metrics=model.pretraining_metrics(),
        jit_compile=False,
    )
    with model.distribute_strategy.scope():
        everything = [*model.trainable_variables, *model.non_trainable_variables]
        model.optimizer.build([v for v in everything if "seed_generator" not in v.path])
    dataset = tf.data.Dataset.from_tensor_slices(arrays()).batch(BATCH, drop_remainder=True)
    iterator = next(model._prepare(dataset).executions(1)).iterator
    return model.make_train_function().one_step.get_concrete_function(iterator)


@pytest.fixture(scope="module")
def upper_third():
    """A model of which only the top layer and the heads are trained, and the graph of an update."""
    model = make()
    model.freeze_lower_layers(2, dropout=False)
    return model, traced(model)


def part_of(operation):
    """The frozen layer that an operation of the forward pass belongs to, or None."""
    path = operation.name.split("/")
    return next((name for name in FROZEN for scope in path if scope.startswith(name)), None)


def test_no_operation_of_the_backward_pass_is_a_frozen_layers(upper_third):
    operations = upper_third[1].graph.get_operations()
    backward = [op for op in operations if op.name.startswith("gradient_tape/")]
    assert backward
    assert {part_of(op) for op in backward} == {None}


def test_products_are_those_of_the_cost_model(upper_third):
    head = 2 * PREDICTIONS * LENGTH * SIZE.hidden_dim  # a gather as a product, not counted
    mask = 2 * SIZE.num_heads * LENGTH**2  # of a layer: one more column, not counted
    counted = training_flops(SIZE, VOCABULARY, LENGTH, PREDICTIONS, frozen_layers=2).total
    expected = BATCH * (counted + 3 * head + (3 + 2) * mask)
    assert graph_flops(upper_third[1]) == expected
    deeper = make(2)
    deeper.freeze_lower_layers(2)
    counted = training_flops(
        BertSize(2, 24, 2, 40), VOCABULARY, LENGTH, PREDICTIONS, frozen_layers=2
    ).total
    assert graph_flops(traced(deeper)) == BATCH * (counted + head + 2 * mask)


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
    assert {path.split("/")[0] for path in trained} == {
        "transformer_layer_2",
        "pooled_dense",
        "mlm_head",
        "nsp_head",
    }
    slots = {
        f"lamb/{path.replace('/', '_')}_{slot}"
        for path in trained
        for slot in ("momentum", "velocity")
    }
    assert written == trained | slots | {"lamb/iteration"}


def masks(function):
    """Number of dropout masks that are drawn."""
    drawn = [op for op in function.graph.get_operations() if "StatelessRandom" in op.type]
    return len(drawn) / 2  # another one scrambles the seed


@pytest.mark.parametrize("rematerialize", [False, True])
def test_dropout_of_the_frozen_part_is_left_out_on_demand(rematerialize):
    counts = []
    model = make(2, rematerialize)
    for frozen, dropout in ((0, False), (1, True), (1, False), (0, True)):
        model.freeze_lower_layers(frozen, dropout)
        counts.append([layer.drops for layer in model.backbone.transformer_layers])
    assert counts == [[True, True], [True, True], [False, True], [True, True]]


def test_masks_are_drawn_for_what_drops(upper_third):
    assert masks(upper_third[1]) == 3  # attention and two residuals of the top layer
    model = make(2)
    model.freeze_lower_layers(1)
    assert masks(traced(model)) == 1 + 2 * 3


def test_a_frozen_part_without_dropout_computes_as_in_an_evaluation():
    keras.utils.set_random_seed(1)
    encoder = BertEncoder(VOCABULARY, 2, 2, 24, 40, dropout=0.5, max_sequence_length=LENGTH)
    inputs = {name: np.ones((BATCH, LENGTH), "int32") for name in encoder.input}
    freeze_lower_layers(encoder, 2, dropout=False)
    expected = encoder(inputs)["sequence_output"]
    np.testing.assert_array_equal(encoder(inputs, training=True)["sequence_output"], expected)
    freeze_lower_layers(encoder, 2)
    assert not np.array_equal(encoder(inputs, training=True)["sequence_output"], expected)
    with pytest.raises(InputError, match="dropout cannot be left out of a stock encoder"):
        freeze_lower_layers(to_stock(encoder), 1, dropout=False)
