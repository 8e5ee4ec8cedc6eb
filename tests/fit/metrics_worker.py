"""One of two worker processes: prints a metric's name, its values by epoch, and Keras' own."""

import json

import tfbert

strategy = tfbert.get_strategy("multi_worker")

import keras  # noqa: E402
from test_replica_metrics import (  # noqa: E402
    BATCH,
    X,
    Y,
    in_batches,
    make_linear,
    own_metrics,
)

with strategy.scope():
    model = make_linear()
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=own_metrics(), accumulate_steps=2)
history = model.fit(X, Y, BATCH, shuffle=False, epochs=2, verbose=0).history
outputs = model.predict(X, verbose=0)
for metric in own_metrics():
    values = [*history[metric.name], float(in_batches(metric, Y, outputs))]
    print(json.dumps([metric.name, values]))
