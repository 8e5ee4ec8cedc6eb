"""One of two worker processes (TF_CONFIG says which): trains the cases and writes what came out.

python table_worker.py FOLDER '[{"accumulate_steps": 1, "jit_compile": false, ...}, ...]'
"""

import json
import os
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

import tfbert


def main(folder, cases):
    strategy = tfbert.get_strategy()  # before Keras is imported
    import keras
    from helpers.small_models import train

    worker = strategy.cluster_resolver.task_id
    for number, case in enumerate(cases):
        # Only the chief's are written.
        callbacks = [
            keras.callbacks.CSVLogger(f"{folder}/of-{worker}.csv"),
            keras.callbacks.ModelCheckpoint(f"{folder}/of-{worker}.keras"),
        ]
        np.savez(f"{folder}/{number}-{worker}.npz", **train(strategy, callbacks=callbacks, **case))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
