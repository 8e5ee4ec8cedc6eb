"""One of two worker processes: `fit` of a stock model, or of ours with `ours` as argument."""

import sys

import tfbert


def main(which):
    strategy = tfbert.get_strategy("multi_worker")  # before Keras is imported
    import keras
    from helpers.small_models import BATCH, LINEAR_X, LINEAR_Y, Linear, make_linear

    with strategy.scope():
        model = make_linear(Linear if which == "ours" else keras.Model)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss)
    model.fit(LINEAR_X[: 2 * BATCH], LINEAR_Y[: 2 * BATCH], batch_size=BATCH, verbose=0)


if __name__ == "__main__":
    main(sys.argv[1])
