"""Trains on the backend that Keras runs on, and writes what came out of it.

    train_worker.py FILE.npz REPLICAS KIND:ACCUMULATE_STEPS:STEPS_PER_EXECUTION ...

With TF_CONFIG it is one of several processes, of which each has one device.
"""

import os
import sys

import numpy as np

from tfbert.hardware.strategies import get_strategy


def main(file, replicas, *rows):
    processes = "TF_CONFIG" in os.environ
    strategy = get_strategy("auto") if processes else get_strategy("cpu", int(replicas))
    assert strategy.num_replicas_in_sync == int(replicas)
    from helpers.backend_training import train_alike

    found = {}
    for row in rows:
        kind, accumulate, steps = row.split(":")
        trained = train_alike(
            strategy, kind, accumulate_steps=int(accumulate), steps_per_execution=int(steps)
        )
        found |= {f"{row}/{name}": value for name, value in trained.items()}
    np.savez(file, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
