import keras
import pytest
import tensorflow as tf
from helpers.graph_flops import graph_flops

from tfbert.models.pretrainer import make_pretrainer
from tfbert.models.sizes import SIZES, BertSize
from tfbert.recipes.flops import BACKWARD, training_flops

SIZE = BertSize(num_layers=3, hidden_dim=24, num_heads=2, intermediate_dim=40)
LENGTH, PREDICTIONS, VOCABULARY, BATCH = 16, 5, 90, 2


@pytest.fixture(scope="module")
def traced():
    """The forward pass of a model, and forward and backward pass together."""
    model = make_pretrainer(SIZE, VOCABULARY, dropout=0.0, max_sequence_length=LENGTH)
    ids = tf.TensorSpec((BATCH, LENGTH), tf.int32)
    inputs = dict.fromkeys(model.backbone.input, ids)
    inputs["mask_positions"] = tf.TensorSpec((BATCH, PREDICTIONS), tf.int32)

    @tf.function
    def forward(inputs):
        return model(inputs, training=True)

    @tf.function
    def training(inputs):
        with tf.GradientTape() as tape:
            outputs = keras.tree.flatten(model(inputs, training=True))
            loss = tf.add_n([tf.reduce_sum(output**2) for output in outputs])
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    return forward.get_concrete_function(inputs), training.get_concrete_function(inputs)


# Not counted: the one-hot product of the head, being a gather, and the padding mask, being a sum,
# which the attention adds as one more column of queries and keys.
GATHER = 2 * PREDICTIONS * LENGTH * SIZE.hidden_dim
MASK = 2 * SIZE.num_layers * SIZE.num_heads * LENGTH**2


def test_as_many_operations_as_the_forward_graph_has(traced):
    counted = training_flops(SIZE, VOCABULARY, LENGTH, PREDICTIONS).total / (1 + BACKWARD)
    assert graph_flops(traced[0]) == BATCH * (counted + GATHER + MASK)


def test_as_many_operations_as_forward_and_backward_have(traced):
    counted = training_flops(SIZE, VOCABULARY, LENGTH, PREDICTIONS).total
    # With the products for their gradients; that of the positions is not needed.
    assert graph_flops(traced[1]) == BATCH * (counted + 2 * GATHER + 3 * MASK)


def test_the_order_of_magnitude_of_bert_large():
    # 6 operations a parameter and token: 302 million parameters in the layers, 128 tokens.
    flops = training_flops(SIZES["large"], 30_522, 128, 20).total
    assert flops == pytest.approx(6 * 302e6 * 128, rel=0.1)
    without = training_flops(SIZES["large"], 30_522, 128, 20, next_sentence=False).total
    assert flops - without == 3 * 2 * (1024**2 + 2 * 1024)
