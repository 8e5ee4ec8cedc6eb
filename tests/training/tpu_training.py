"""Traces fit, evaluate and predict in the real TPUStrategy; a process of its own."""

import json

import keras
import numpy as np
import tensorflow as tf
from fake_tpu_strategy import count_operations, make_strategy
from small_models import example_arrays, make_classifier

import tfbert
from tfbert.models.growth import grow, grow_optimizer
from tfbert.models.pretrainer import make_pretrainer
from tfbert.models.sizes import BertSize


def main():
    strategy = make_strategy()
    cases = {
        "plain": {},
        "accumulated": {"accumulate_steps": 4},
        "several steps": {"steps_per_execution": 8},
        "everything": {"accumulate_steps": 4, "steps_per_execution": 8},
    }
    traced = {name: trace(strategy, **options) for name, options in cases.items()}
    answers = {"traced": traced, "grown": trace_grown(strategy), "refused": refused(strategy)}
    print(json.dumps(answers))


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


def trace_grown(strategy):
    """What an update reduces and draws in the second of two MSLT stages, a layer each."""

    def compiled(model):
        model.compile(tfbert.LAMB(1e-3, max_grad_norm=1.0), loss=model.pretraining_losses())
        return model

    with strategy.scope():
        size = BertSize(1, hidden_dim=16, num_heads=2, intermediate_dim=32)
        model = compiled(make_pretrainer(size, 50, max_sequence_length=12))
        model.optimizer.build(model.trainable_variables)
        deeper = compiled(grow(model, 2))
    grow_optimizer(model, deeper)
    deeper.freeze_lower_layers(1, dropout=False)
    ids = np.zeros((16, 12), "int32")
    inputs = dict.fromkeys(("token_ids", "segment_ids", "padding_mask", "mask_positions"), ids)
    targets = {"mlm": ids, "nsp": ids[:, 0]}
    dataset = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(16, drop_remainder=True)
    iterator = next(deeper._prepare(dataset).executions(1)).iterator
    graph = deeper.make_train_function().one_step.get_concrete_function(iterator).graph
    sizes = [
        operation.outputs[0].shape.num_elements()
        for operation in graph.get_operations()
        if operation.type == "CrossReplicaSum"
    ]
    return {
        "trained": sum(v.shape.num_elements() for v in deeper.trainable_variables),
        "reduced": sum(sizes),
        **count_operations(graph, "TPUReplicateMetadata", "StatelessRandomUniformFullIntV2"),
    }


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
