"""One of two worker processes (TF_CONFIG says which): trains the cases and writes what came out.

python table_worker.py FOLDER '[[accumulate_steps, steps_per_execution, jit_compile], ...]'
"""

import json
import os
import pathlib
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

import tfbert


def main(folder, cases):
    strategy = tfbert.get_strategy()  # before Keras is imported
    from helpers.small_models import train

    worker = strategy.cluster_resolver.task_id
    for number, (accumulate_steps, steps_per_execution, jit_compile) in enumerate(cases):
        result = train(
            strategy,
            accumulate_steps=accumulate_steps,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
        )
        np.savez(f"{folder}/{number}-{worker}.npz", **result)
    only_the_chief_writes(strategy, pathlib.Path(folder), worker)


def only_the_chief_writes(strategy, folder, worker):
    import keras

    class Linear(tfbert.DistributedTrainer, keras.Model):
        pass

    with strategy.scope():
        inputs = keras.Input((4,))
        model = Linear(inputs, keras.layers.Dense(3)(inputs))
        model.compile(keras.optimizers.SGD(), "sparse_categorical_crossentropy")
    inputs, labels = np.ones((8, 4), np.float32), np.zeros(8, np.int32)
    files = [folder / f"of-{worker}.csv", folder / f"of-{worker}.keras"]
    callbacks = [keras.callbacks.CSVLogger(files[0]), keras.callbacks.ModelCheckpoint(files[1])]
    model.fit(inputs, labels, batch_size=8, verbose=2, callbacks=callbacks)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
