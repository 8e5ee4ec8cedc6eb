"""Traces updates in the real TPUStrategy; a process of its own."""

import collections
import json

import keras
import tensorflow as tf
from helpers.fake_tpu_strategy import make_strategy
from helpers.optimizer_table import random_arrays, variables_of

import tfbert


def main():
    strategy = make_strategy()
    everything = {
        "max_grad_norm": 1.0,
        "record_statistics": True,
        "use_ema": True,
        "ema_overwrite_frequency": 2,
        "gradient_accumulation_steps": 2,
    }
    optimizers = {
        "lamb": lambda: tfbert.LAMB(),
        "lamb with everything": lambda: tfbert.LAMB(**everything),
        "lars": lambda: tfbert.LARS(),
        "loss scale": lambda: tfbert.LossScaleOptimizer(tfbert.LAMB(max_grad_norm=1.0)),
        "loss scale of keras": lambda: tfbert.LossScaleOptimizer(keras.optimizers.Adam()),
    }
    print(json.dumps({name: trace(strategy, make) for name, make in optimizers.items()}))


def trace(strategy, optimizer_of):
    with strategy.scope():
        variables = list(variables_of(random_arrays(0)).values())
        optimizer = optimizer_of()
        optimizer.build(variables)

    @tf.function
    def update():
        def on_replica():
            # The first is sparse, as an embedding's gradient is.
            rows = tf.IndexedSlices(tf.ones((2, 3)), tf.constant([1, 1]), tf.constant([4, 3]))
            gradients = [rows, *(tf.ones(v.shape) for v in variables[1:])]
            optimizer.apply(gradients, variables)

        strategy.run(on_replica)

    # Those of the graph itself: what stands in the branches of a condition is not looked at.
    operations = update.get_concrete_function().graph.get_operations()
    types = collections.Counter(operation.type for operation in operations)
    return {"replicated": types["TPUReplicateMetadata"], "sums": types["CrossReplicaSum"]}


if __name__ == "__main__":
    main()
