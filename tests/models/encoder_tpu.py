"""Traces a training step of the encoder in the real TPUStrategy; a process of its own."""

import collections
import json

import tensorflow as tf
from helpers.fake_tpu_strategy import make_strategy

from tfbert.models.encoder import BertEncoder


def main():
    strategy = make_strategy()
    print(json.dumps({str(remade): trace(strategy, remade) for remade in (False, True)}))


def trace(strategy, rematerialize):
    with strategy.scope():
        encoder = BertEncoder(
            vocabulary_size=50,
            num_layers=2,
            num_heads=2,
            hidden_dim=16,
            intermediate_dim=32,
            max_sequence_length=16,
            rematerialize=rematerialize,
            dtype="mixed_bfloat16",
        )
    layers = [layer for layer in encoder._flatten_layers() if hasattr(layer, "seed_generator")]
    for number, layer in enumerate(layers):
        # As the training function does: a generator's state is the host's.
        layer.seed_generator.next = lambda number=number: tf.constant([number, 1])

    @tf.function
    def step():
        def on_replica():
            inputs = {name: tf.ones((4, 8), tf.int32) for name in encoder.input}
            with tf.GradientTape() as tape:
                outputs = encoder(inputs, training=True)["pooled_output"]
                loss = tf.reduce_sum(tf.cast(outputs, tf.float32))
            found = tape.gradient(loss, [v.value for v in encoder.trainable_variables])
            return [tf.convert_to_tensor(g) for g in found]

        return strategy.run(on_replica)

    operations = step.get_concrete_function().graph.get_operations()
    types = collections.Counter(operation.type for operation in operations)
    return {
        "replicated": types["TPUReplicateMetadata"],
        "draws": types["StatelessRandomUniformFullIntV2"],
        "softmaxes": types["Softmax"],
        "calls": types["StatefulPartitionedCall"] + types["PartitionedCall"],
    }


if __name__ == "__main__":
    main()
