"""The model's functions in the real TPUStrategy: its graphs are built, and cannot be run here."""

import json
import pathlib

import pytest
from helpers.processes import finish, start

HERE = pathlib.Path(__file__).parent


def run(*arguments):
    return json.loads(finish(start([HERE / "tpu_training.py", *arguments]), 400).splitlines()[-1])


@pytest.fixture(scope="module")
def output():
    return run()


@pytest.mark.parametrize(("case", "loops"), [("plain", 0), ("everything", 2)])
def test_train_evaluate_and_predict_are_traced(output, case, loops):
    check_counts(output["traced"], case, loops)


@pytest.mark.slow
def test_so_they_are_with_one_loop():
    traced = run("divided")["traced"]
    for case in ("accumulated", "several steps"):
        check_counts(traced, case, loops=1)


def check_counts(traced, case, loops):
    counts = traced[case]
    for function in ("train", "evaluate"):
        # One program for the step, one that brings the metrics together.
        assert counts[function]["TPUReplicateMetadata"] == 2
        assert counts[function]["XlaLaunch"] == 0  # no second compilation inside of a TPU's
    assert counts["predict"]["TPUReplicateMetadata"] == 1
    assert counts["train"]["While"] == loops
    assert counts["train"]["CrossReplicaSum"] > counts["evaluate"]["CrossReplicaSum"]
    # However the batch is divided, gradients are summed over the cores once.
    plain = traced["plain"]["train"]
    assert counts["train"]["CrossReplicaSum"] == plain["CrossReplicaSum"]


def test_a_stage_reduces_what_it_trains(output):
    grown = output["grown"]
    assert grown["TPUReplicateMetadata"] == 2
    # By hand, 16 wide: a layer, the heads and the pooler; no embeddings of 64 rows.
    layer = 4 * (16 * 16 + 16) + (16 * 32 + 32) + (32 * 16 + 16) + 4 * 16
    heads = (16 * 16 + 16) + 2 * 16 + 50 + (16 * 16 + 16) + (16 * 2 + 2)
    assert grown["trained"] == layer + heads
    # Beside gradients: counts of targets, the denominator, sums of losses.
    assert grown["trained"] < grown["reduced"] <= grown["trained"] + 10
    # Three masks of the layer that is trained, and a seed scrambled for each.
    assert grown["StatelessRandomUniformFullIntV2"] == 6


def test_batches_of_changing_shape_are_refused(output):
    assert "a TPU needs batches of one shape" in output["refused"]
    assert "drop_remainder=True" in output["refused"]


def test_both_phases_of_pretraining_are_traced(output):
    first, second = output["phases"]
    for phase, loops in ((first, 0), (second, 1)):  # the second is accumulated
        assert (phase["TPUReplicateMetadata"], phase["While"]) == (1, loops)
        # One of each gradient, of their divisor, and of the counts of targets.
        assert phase["CrossReplicaSum"] == phase["trainable"] + 2
    assert second["trainable"] < first["trainable"]  # its lowest layer is frozen


def test_fine_tuning_is_traced_from_texts_of_any_length(output):
    # A batch of 7 on two cores: filled up.
    assert output["finetune"]["TPUReplicateMetadata"] == 2
    assert output["finetune"]["CrossReplicaSum"] > 10
