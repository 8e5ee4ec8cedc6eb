"""One of two worker processes: `fit` of a stock model, or of ours with `ours` as argument."""

import os
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

import tfbert


def main(which):
    strategy = tfbert.get_strategy("multi_worker")  # before Keras is imported
    import keras

    class Ours(tfbert.DistributedTrainer, keras.Model):
        pass

    with strategy.scope():
        inputs = keras.Input((4,))
        kind = Ours if which == "ours" else keras.Model
        model = kind(inputs, keras.layers.Dense(1)(inputs))
        model.compile("sgd", "mse")
    model.fit(np.ones((8, 4), np.float32), np.ones((8, 1), np.float32), batch_size=4, verbose=0)


if __name__ == "__main__":
    main(sys.argv[1])
