"""Traces training in the real TPUStrategy; a process of its own.

With `divided` as argument only the two ways of dividing the work, each by itself; without it all
the rest.
"""

import contextlib
import json
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf
from helpers.fake_tpu_strategy import count_operations, make_strategy
from helpers.small_models import example_arrays, make_classifier

import tfbert
from tfbert.fit.epoch_data import Execution
from tfbert.models.growth import grow, grow_optimizer
from tfbert.models.pretrainer import make_pretrainer
from tfbert.models.sizes import BertSize
from tfbert.recipes.phase_model import begin_phase, make_phase_model
from tfbert.recipes.phases import with_layers
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.records.batches import examples_of
from tfbert.runs import finetune
from tfbert.runs.command_options import FinetuneConfig
from tfbert.runs.run_directory import RunDirectory

CASES = {
    "plain": {},
    "accumulated": {"accumulate_steps": 4},
    "several steps": {"steps_per_execution": 8},
    "everything": {"accumulate_steps": 4, "steps_per_execution": 8},
}


def main(divided):
    strategy = make_strategy()
    names = ("plain", "accumulated", "several steps") if divided else ("plain", "everything")
    output = {"traced": {name: trace(strategy, **CASES[name]) for name in names}}
    if divided:
        print(json.dumps(output))
        return
    output["refused"] = refused(strategy)
    output["grown"] = trace_grown(strategy)
    output["phases"] = pretraining_phases(strategy)
    output["finetune"] = finetuning(strategy)
    print(json.dumps(output))


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


def pretraining_phases(strategy):
    """The steps of two-phase pre-training: `pretrain`'s one model at two lengths."""
    config = PretrainConfig(
        data="",
        output="",
        phases=[
            {"steps": 4, "global_batch_size": 8, "sequence_length": 8, "learning_rate": 0.01},
            {"steps": 2, "global_batch_size": 8, "sequence_length": 16, "freeze_layers": 1},
        ],
        size="tiny",
        hidden_dim=16,
        num_heads=2,
        max_sequence_length=16,
        precision="bfloat16",
    )
    with strategy.scope():
        model = make_phase_model(config, 0, 50, next_sentence=True, accumulate_steps=1)
    found = []
    phases = with_layers(config.phases, config.bert_size.num_layers)
    for number, phase in enumerate(phases):
        model = begin_phase(model, config, phases, number, accumulate_steps=1 + number)
        batch, length = 8, phase.sequence_length
        records = {
            name: tf.ones((batch, length), tf.int32)
            for name in ("token_ids", "segment_ids", "padding_mask")
        }
        for name in ("mask_positions", "mask_ids"):
            records[name] = tf.ones((batch, 2), tf.int32)
        records["mask_weights"] = tf.ones((batch, 2))
        records["next_sentence_labels"] = tf.ones((batch,), tf.int32)
        iterator = iter(model._prepare(tf.data.Dataset.from_tensors(examples_of(records)))._dataset)
        graph = graph_of_step(strategy, model.make_train_function(force=True).step, iterator)
        counts = count_operations(graph, "TPUReplicateMetadata", "CrossReplicaSum", "While")
        found.append({**counts, "trainable": len(model.trainable_variables)})
    return found


def graph_of_step(strategy, step, iterator):
    @tf.function(autograph=False)
    def program():
        strategy.run(step, args=(next(iterator),))

    return program.get_concrete_function().graph


def finetuning(strategy):
    """`tfbert finetune` as it is, up to the call of its first training step."""
    traced = {}

    def trace_first(execution, function):
        graph = function.one_step.get_concrete_function(execution.iterator).graph
        traced.update(count_operations(graph, "TPUReplicateMetadata", "CrossReplicaSum"))
        raise StopIteration

    Execution.run = trace_first
    with tempfile.TemporaryDirectory() as folder:
        config = FinetuneConfig(
            task="embedded",
            output=folder,
            global_batch_size=7,
            precision="bfloat16",
            progress=False,
        )
        with contextlib.suppress(StopIteration):
            finetune._finetune(config, strategy, RunDirectory(folder), resumes=False)
    return traced


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
    main(divided="divided" in sys.argv)
