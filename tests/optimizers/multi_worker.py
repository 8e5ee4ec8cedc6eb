"""One of two worker processes (TF_CONFIG says which): trains and writes the weights.

python multi_worker.py FILE NAME...
"""

import os
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf


def main(path, *names):
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    # Keras asks for devices on import, after which the strategy cannot start.
    import keras
    from helpers.optimizer_table import make
    from helpers.optimizer_training import gradients_at, train_on

    import tfbert

    def overflowing(step, replica):
        """The second worker's gradients overflow at every third step."""
        gradients = gradients_at(step, replica)
        if replica == 1 and step % 3 == 0:
            gradients["dense/bias"][1] = np.inf
        return gradients

    optimizers = {
        "lamb": lambda: make("lamb"),
        "lamb-clipped": lambda: make("lamb-clipped", jit_compile=True),
        "lars": lambda: make("lars"),
        "overflow": lambda: tfbert.LossScaleOptimizer(make("lamb"), initial_scale=2.0**15),
        "overflow-sgd": lambda: tfbert.LossScaleOptimizer(
            keras.optimizers.SGD(0.02, global_clipnorm=1.0), initial_scale=2.0**15
        ),
    }
    arrays = {}
    for name in names:
        gradients_of = overflowing if "overflow" in name else gradients_at
        variables, optimizer = train_on(strategy, optimizers[name], 20, gradients_of)
        arrays |= {f"{name}/{k}": v.numpy() for k, v in variables.items()}
        if "overflow" in name:
            arrays[f"skipped/{name}"] = optimizer.skipped_steps.numpy()
    np.savez(path, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
