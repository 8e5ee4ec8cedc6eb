"""Traces fit, evaluate and predict in the real TPUStrategy; a process of its own."""

import json

import keras
import tensorflow as tf
from fake_tpu_strategy import count_operations, make_strategy
from small_models import example_arrays, make_classifier

import tfbert


def main():
    strategy = make_strategy()
    cases = {
        "plain": {},
        "accumulated": {"accumulate_steps": 4},
        "several steps": {"steps_per_execution": 8},
        "everything": {"accumulate_steps": 4, "steps_per_execution": 8},
    }
    traced = {name: trace(strategy, **options) for name, options in cases.items()}
    print(json.dumps({"traced": traced, "refused": refused(strategy)}))


def trace(strategy, **options):
    arrays = example_arrays(rows=16)
    dataset = tf.data.Dataset.from_tensor_slices(arrays).batch(16, drop_remainder=True)
    with strategy.scope():
        model = make_classifier(dropout=0.1, dtype="mixed_bfloat16")
        model.compile(
            tfbert.LAMB(1e-3, max_grad_norm=1.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            weighted_metrics=["accuracy"],
            **options,
        )
    data = model._prepare(dataset)
    iterator = next(data.executions(1)).iterator
    functions = [model.make_train_function(), model.make_test_function()]
    if model.steps_per_execution == 1:
        graphs = [f.one_step.get_concrete_function(iterator).graph for f in functions]
    else:
        steps = tf.constant(model.steps_per_execution)
        graphs = [f.several_steps.get_concrete_function(iterator, steps).graph for f in functions]
    graphs.append(model.make_predict_function().get_concrete_function(iterator).graph)
    types = ("TPUReplicateMetadata", "CrossReplicaSum", "While", "XlaLaunch")
    counts = [count_operations(graph, *types) for graph in graphs]
    return dict(zip(("train", "evaluate", "predict"), counts, strict=True))


def refused(strategy):
    """What is said of batches whose shape changes."""
    with strategy.scope():
        model = make_classifier()
        model.compile(loss="sparse_categorical_crossentropy")
    inputs, labels, _ = example_arrays(rows=16)
    try:
        model.fit(tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(6), verbose=0)
    except ValueError as error:
        return str(error)


if __name__ == "__main__":
    main()
