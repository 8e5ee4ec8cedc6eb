"""One of two worker processes (TF_CONFIG says which): trains and writes the weights.

python multi_worker.py FILE
"""

import os
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

STEPS = 20


def main(path):
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    # Keras asks for devices on import, after which the strategy cannot start.
    import keras
    from helpers.optimizer_table import make, random_arrays, variables_of

    import tfbert

    index = strategy.cluster_resolver.task_id
    optimizers = {
        "lamb-clipped": lambda: make("lamb-clipped", jit_compile=True),
        # The second worker's gradients overflow at every third step.
        "overflow": lambda: tfbert.LossScaleOptimizer(make("lamb"), initial_scale=2.0**15),
        "overflow-sgd": lambda: tfbert.LossScaleOptimizer(
            keras.optimizers.SGD(0.02, global_clipnorm=1.0), initial_scale=2.0**15
        ),
    }
    arrays = {}
    for name, optimizer_of in optimizers.items():
        with strategy.scope():
            variables = variables_of(random_arrays(0))
            optimizer = optimizer_of()
            optimizer.build(list(variables.values()))
        update = update_of(strategy, optimizer, list(variables.values()))
        for step in range(STEPS):
            gradients = random_arrays(1000 * step + index)
            if "overflow" in name:
                scale = optimizer.dynamic_scale.numpy()
                gradients = {k: scale * g for k, g in gradients.items()}
                if index == 1 and step % 3 == 0:
                    gradients["dense/bias"][1] = np.inf
            update(tuple(tf.constant(gradients[k]) for k in variables))
        arrays |= {f"{name}/{k}": v.numpy() for k, v in variables.items()}
        if "overflow" in name:
            arrays[f"skipped/{name}"] = optimizer.skipped_steps.numpy()
    np.savez(path, **arrays)


def update_of(strategy, optimizer, variables):
    @tf.function
    def update(gradients):
        strategy.run(lambda *local: optimizer.apply(local, variables), args=gradients)

    return update


if __name__ == "__main__":
    main(sys.argv[1])
