"""Traces a training step of the encoder in the real TPUStrategy; a process of its own."""

import json

import tensorflow as tf
from helpers.fake_tpu_strategy import make_strategy
from helpers.small_encoder import CONFIG, INPUTS

from tfbert.models.encoder import BertEncoder


def main():
    strategy = make_strategy()
    print(json.dumps({str(remade): trace(strategy, remade) for remade in (False, True)}))


def trace(strategy, rematerialize):
    with strategy.scope():
        encoder = BertEncoder(
            **{**CONFIG, "num_layers": 1}, rematerialize=rematerialize, dtype="mixed_bfloat16"
        )
    layers = [layer for layer in encoder._flatten_layers() if hasattr(layer, "seed_generator")]
    for number, layer in enumerate(layers):
        # As the training function does: a generator's state is the host's.
        layer.seed_generator.next = lambda number=number: tf.constant([number, 1])

    @tf.function
    def step():
        def on_replica():
            inputs = {name: tf.ones((4, 8), tf.int32) for name in INPUTS}
            with tf.GradientTape() as tape:
                outputs = encoder(inputs, training=True)["pooled_output"]
                loss = tf.reduce_sum(tf.cast(outputs, tf.float32))
            found = tape.gradient(loss, [v.value for v in encoder.trainable_variables])
            return [tf.convert_to_tensor(g) for g in found]

        return strategy.run(on_replica)

    types = [operation.type for operation in step.get_concrete_function().graph.get_operations()]
    return {
        "replicated": types.count("TPUReplicateMetadata"),
        "draws": types.count("StatelessRandomUniformFullIntV2"),
        "softmaxes": types.count("Softmax"),
        "calls": types.count("StatefulPartitionedCall") + types.count("PartitionedCall"),
    }


if __name__ == "__main__":
    main()
