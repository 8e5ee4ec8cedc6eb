"""BERT's masked-LM head, evaluated at the masked positions only."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfbert.models.layers.transformer import bert_initializer
from tfbert.models.sizes import LAYER_NORM_EPSILON
from tfbert.types import ActivationName, Tensor


class MaskedLMHead(keras.layers.Layer):
    """Predicts the tokens at some positions (Devlin et al. 2019, section 3.1, task 1).

    A dense layer with GELU and layer normalisation, then the transposed token embedding and a
    bias: BERT's own head. `keras_hub.layers.MaskedLMHead` has erf GELU and an epsilon of 1e-5.

    Args:
        token_embedding: The encoder's embedding layer. Its table is used, but is not one of this
            layer's weights, so that freezing one does not freeze the other.
        activation, layer_norm_epsilon: As in `BertEncoder`; the encoder's.
        **kwargs: Of `keras.layers.Layer`. The matrix products run in the compute dtype.

    Call arguments:
        sequence_output: (batch, length, hidden_dim).
        mask_positions: (batch, predictions) int32, from 0 to length - 1.

    Returns:
        (batch, predictions, vocabulary) float32 logits.
    """

    def __init__(
        self,
        token_embedding: keras.layers.Embedding,
        activation: ActivationName = "gelu_tanh",
        layer_norm_epsilon: float = LAYER_NORM_EPSILON,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # In a function: Keras would track a layer that is an attribute, or in a list or dict.
        self._get_table = lambda: token_embedding.embeddings
        self._vocabulary_size = token_embedding.input_dim
        self.dense = keras.layers.Dense(
            token_embedding.output_dim,
            activation=_tanh_gelu if activation == "gelu_tanh" else keras.activations.gelu,
            kernel_initializer=bert_initializer(),
            dtype=self.dtype_policy,
            name="dense",
        )
        self.layer_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, dtype=self.dtype_policy, name="layer_norm"
        )

    def build(
        self,
        sequence_output_shape: tuple[int | None, ...],
        mask_positions_shape: tuple[int | None, ...],
    ) -> None:
        shape = (*mask_positions_shape, sequence_output_shape[-1])
        self.dense.build(shape)
        self.layer_norm.build(shape)
        self.bias = self.add_weight(
            shape=(self._vocabulary_size,), initializer="zeros", autocast=False, name="bias"
        )

    def call(self, sequence_output: Tensor, mask_positions: Tensor) -> Tensor:
        # A product with a one-hot matrix instead of a gather: exact, and its gradient is a product
        # again where a gather's is a scatter, which is slow on TPUs and in random order on GPUs.
        length = ops.shape(sequence_output)[1]
        chosen = ops.one_hot(mask_positions, length, dtype=sequence_output.dtype)
        x = ops.matmul(chosen, sequence_output)  # (batch, predictions, hidden_dim)
        x = self.layer_norm(self.dense(x))
        # In two dimensions: with three, TensorFlow multiplies sequence by sequence.
        rows = ops.reshape(x, (-1, x.shape[-1]))
        table = ops.cast(self._get_table(), self.compute_dtype)
        logits = _product(rows, table) + self.bias
        return ops.reshape(logits, (-1, ops.shape(mask_positions)[1], self._vocabulary_size))

    def compute_output_spec(
        self, sequence_output: keras.KerasTensor, mask_positions: keras.KerasTensor
    ) -> keras.KerasTensor:
        return keras.KerasTensor((*mask_positions.shape, self._vocabulary_size), "float32")


def _tanh_gelu(x):
    return keras.activations.gelu(x, approximate=True)


def _product(rows, table):
    """`rows @ transpose(table)` as float32; (rows, hidden_dim), (vocabulary, hidden_dim).

    Under JAX the sums leave the matrix unit unrounded. TensorFlow has no such kernel outside XLA:
    there, products of bfloat16 and float16 are rounded once before they become float32.
    """
    if keras.backend.backend() != "jax":
        return ops.cast(ops.matmul(rows, ops.transpose(table)), "float32")
    import jax

    @jax.custom_gradient
    def product(rows, table):
        def gradient(upstream):
            # JAX's own gradient would multiply in float32, at half the speed or less.
            upstream = upstream.astype(rows.dtype)
            return upstream @ table, upstream.T @ rows

        return jax.numpy.matmul(rows, table.T, preferred_element_type="float32"), gradient

    return product(rows, table)
