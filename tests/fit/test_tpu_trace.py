"""Training in the real TPUStrategy: its graphs are built, and cannot be run here."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.fake_tpu_strategy import count_operations, strategy_of_two_devices
from helpers.small_models import example_arrays, make_classifier
from helpers.small_pretrainer import small_pretrainer

import tfbert
from tfbert.fit.batches.epoch_data import Execution
from tfbert.models.growth import grow, grow_optimizer
from tfbert.models.sizes import BertSize
from tfbert.recipes.phase_model import begin_phase, make_phase_model
from tfbert.recipes.phases import with_layers
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.records.batches import examples_of
from tfbert.runs import finetune
from tfbert.runs.command_options import FinetuneConfig
from tfbert.runs.outputs.run_directory import RunDirectory


@pytest.fixture(scope="module")
def two_cores(two_cpu_devices):
    return strategy_of_two_devices()


def first_iterator(model, arrays, rows=16):
    """An iterator over batches of a fixed shape, in the model's strategy."""
    dataset = tf.data.Dataset.from_tensor_slices(arrays).batch(rows, drop_remainder=True)
    return next(model._prepare(dataset).executions(1)).iterator


@functools.cache
def traced(strategy, **options):
    """`{function: {type: number of operations}}` of training, evaluation and prediction."""
    with strategy.scope():
        model = make_classifier(dropout=0.1, dtype="mixed_bfloat16")
        model.compile(
            tfbert.LAMB(1e-3, max_grad_norm=1.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            weighted_metrics=["accuracy"],
            **options,
        )
    iterator = first_iterator(model, example_arrays(rows=16))
    functions = {"train": model.make_train_function(), "evaluate": model.make_test_function()}
    found = {}
    for name, function in functions.items():
        if model.steps_per_execution == 1:
            found[name] = function.one_step.get_concrete_function(iterator)
        else:
            steps = tf.constant(model.steps_per_execution)
            found[name] = function.several_steps.get_concrete_function(iterator, steps)
    found["predict"] = model.make_predict_function().get_concrete_function(iterator)
    types = ("TPUReplicateMetadata", "CrossReplicaSum", "While", "XlaLaunch")
    return {name: count_operations(function.graph, *types) for name, function in found.items()}


@pytest.mark.parametrize(
    ("options", "loops"),
    [
        ({}, 0),
        ({"accumulate_steps": 4, "steps_per_execution": 8}, 2),
        pytest.param({"accumulate_steps": 4}, 1, marks=pytest.mark.slow),
        pytest.param({"steps_per_execution": 8}, 1, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_train_evaluate_and_predict_are_traced(two_cores, options, loops):
    counts = traced(two_cores, **options)
    for function in ("train", "evaluate"):
        # One program for the step, one that brings the metrics together.
        assert counts[function]["TPUReplicateMetadata"] == 2
        assert counts[function]["XlaLaunch"] == 0  # no second compilation inside of a TPU's
    assert counts["predict"]["TPUReplicateMetadata"] == 1
    assert counts["train"]["While"] == loops
    assert counts["train"]["CrossReplicaSum"] > counts["evaluate"]["CrossReplicaSum"]
    # However the batch is divided, gradients are summed over the cores once.
    plain = traced(two_cores)["train"]
    assert counts["train"]["CrossReplicaSum"] == plain["CrossReplicaSum"]


def test_a_stage_reduces_what_it_trains(two_cores):
    """The second of two stages of staged training, a layer each."""

    def compiled(model):
        model.compile(tfbert.LAMB(1e-3, max_grad_norm=1.0), loss=model.pretraining_losses())
        return model

    with two_cores.scope():
        size = BertSize(1, hidden_dim=16, num_heads=2, intermediate_dim=32)
        model = compiled(small_pretrainer(size, dropout=0.1))
        model.optimizer.build(model.trainable_variables)
        deeper = compiled(grow(model, 2))
    grow_optimizer(model, deeper)
    deeper.freeze_lower_layers(1, dropout=False)
    ids = np.zeros((16, 12), "int32")
    inputs = dict.fromkeys(("token_ids", "segment_ids", "padding_mask", "mask_positions"), ids)
    iterator = first_iterator(deeper, (inputs, {"mlm": ids, "nsp": ids[:, 0]}))
    graph = deeper.make_train_function().one_step.get_concrete_function(iterator).graph
    reduced = sum(
        operation.outputs[0].shape.num_elements()
        for operation in graph.get_operations()
        if operation.type == "CrossReplicaSum"
    )
    # By hand, 16 wide: a layer, the heads and the pooler; no embeddings of 64 rows.
    layer = 4 * (16 * 16 + 16) + (16 * 32 + 32) + (32 * 16 + 16) + 4 * 16
    heads = (16 * 16 + 16) + 2 * 16 + 50 + (16 * 16 + 16) + (16 * 2 + 2)
    trained = sum(variable.shape.num_elements() for variable in deeper.trainable_variables)
    assert trained == layer + heads
    # In addition to gradients: counts of targets, the denominator, sums of losses.
    assert trained < reduced <= trained + 10
    counts = count_operations(graph, "TPUReplicateMetadata", "StatelessRandomUniformFullIntV2")
    # Three masks of the layer that is trained, and a seed scrambled for each.
    assert counts == {"TPUReplicateMetadata": 2, "StatelessRandomUniformFullIntV2": 6}


def test_batches_of_changing_shape_are_refused(two_cores):
    with two_cores.scope():
        model = make_classifier()
        model.compile(loss="sparse_categorical_crossentropy")
    dataset = tf.data.Dataset.from_tensor_slices(example_arrays(rows=16)[:2]).batch(6)
    with pytest.raises(ValueError, match=r"(?s)a TPU needs batches of one shape.*drop_remainder"):
        model.fit(dataset, verbose=0)


def test_both_phases_of_pretraining_are_traced(two_cores):
    """`pretrain`'s one model at two lengths; the second phase is accumulated."""
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
    with two_cores.scope():
        model = make_phase_model(config, 0, 50, next_sentence=True, accumulate_steps=1)
    trainable = []
    phases = with_layers(config.phases, config.bert_size.num_layers)
    for number, phase in enumerate(phases):
        model = begin_phase(model, config, phases, number, accumulate_steps=1 + number)
        lengths = dict.fromkeys(("token_ids", "segment_ids", "padding_mask"), phase.sequence_length)
        lengths |= {"mask_positions": 2, "mask_ids": 2}
        records = {name: tf.ones((8, length), tf.int32) for name, length in lengths.items()}
        records["mask_weights"] = tf.ones((8, 2))
        records["next_sentence_labels"] = tf.ones((8,), tf.int32)
        iterator = first_iterator(model, examples_of(records), rows=8)
        step = model.make_train_function(force=True).step

        @tf.function(autograph=False)
        def program(iterator=iterator, step=step):
            two_cores.run(step, args=(next(iterator),))

        graph = program.get_concrete_function().graph
        trainable.append(len(model.trainable_variables))
        assert count_operations(graph, "TPUReplicateMetadata", "CrossReplicaSum", "While") == {
            "TPUReplicateMetadata": 1,
            # One of each gradient, of their divisor, and of the counts of targets.
            "CrossReplicaSum": trainable[-1] + 2,
            "While": number,
        }
    assert trainable[1] < trainable[0]  # the lowest layer of the second phase is frozen


def test_fine_tuning_is_traced_from_texts_of_any_length(two_cores, tmp_path, monkeypatch):
    """`tfbert finetune` as it is, up to the call of its first training step."""
    counts = {}

    def trace_first(execution, function):
        graph = function.one_step.get_concrete_function(execution.iterator).graph
        counts.update(count_operations(graph, "TPUReplicateMetadata", "CrossReplicaSum"))
        raise StopIteration

    monkeypatch.setattr(Execution, "run", trace_first)
    config = FinetuneConfig(
        task="embedded",
        output=str(tmp_path),
        global_batch_size=7,  # on two cores: filled up
        precision="bfloat16",
        progress=False,
    )
    with pytest.raises(StopIteration):
        finetune._finetune(config, two_cores, RunDirectory(tmp_path), resumes=False)
    assert counts["TPUReplicateMetadata"] == 2
    assert counts["CrossReplicaSum"] > 10
