import logging
import math
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.small_encoder import move_weights
from helpers.small_pretrainer import PIECES, compiled, random_records, small_pretrainer
from helpers.transformers_weights import assign_weights

from tfbert.embedded import MODEL_DIRECTORY
from tfbert.errors import InputError
from tfbert.models.encoder import BertEncoder
from tfbert.models.pretrainer import HEADS_FILE, BertPretrainer, load_pretrainer, save_pretrainer
from tfbert.models.sizes import BertSize
from tfbert.optimizers.lamb import LAMB
from tfbert.optimizers.schedules import WarmupPolynomialDecay
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import Vocabulary

GOLDEN = Path(__file__).parent / "golden" / "transformers_pretraining.npz"


@pytest.mark.parametrize("fresh", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_same_logits_as_transformers(tmp_path, fresh):
    """At every position; with the stored weights, or with fresh ones of the library itself."""
    path = GOLDEN
    if fresh:
        pytest.importorskip("transformers", reason="needs the extra `benchmarks`")
        path = tmp_path / "fresh.npz"
        script = Path(__file__).parents[2] / "scripts" / "transformers_reference.py"
        subprocess.run([sys.executable, script, path, "7"], check=True)
    golden = dict(np.load(path))
    model = small_pretrainer()
    assign_weights(model, {name.removeprefix("weights/"): golden[name] for name in golden})
    inputs = {
        name.removeprefix("inputs/"): golden[name] for name in golden if name.startswith("inputs/")
    }
    everywhere = np.broadcast_to(np.arange(11, dtype="int32"), (3, 11))
    outputs = model({**inputs, "mask_positions": everywhere})
    # Transformers also computes an output where there is only padding, from the same attention.
    for name in ("mlm", "nsp"):
        np.testing.assert_allclose(outputs[name], golden[name], atol=1e-4)
    assert np.abs(golden["mlm"]).max() > 1


def evaluated(model, inputs, targets, weights):
    return model.evaluate(inputs, targets, sample_weight=weights, return_dict=True, verbose=0)


def test_the_initial_loss_is_that_of_guessing():
    model = small_pretrainer(
        BertSize(2, 128, 2, 512), vocabulary_size=8_000, dropout=0.1, max_sequence_length=64
    )
    logs = evaluated(compiled(model), *random_records(32, 64, 10, 8_000))
    mlm, nsp = math.log(8_000), math.log(2)
    assert logs["loss"] == pytest.approx(mlm + nsp, rel=0.02)
    assert logs["mlm_loss"] == pytest.approx(mlm, rel=0.02)
    assert logs["nsp_loss"] == pytest.approx(nsp, rel=0.1)


def test_the_gradient_is_that_of_a_head_over_all_positions():
    model = move_weights(small_pretrainer(), 0.2)
    inputs, targets, weights = random_records()
    count = weights["mlm"].sum()

    with tf.GradientTape() as tape:
        logits = model(inputs)["mlm"]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets["mlm"], logits)
        loss = tf.reduce_sum(losses * weights["mlm"]) / count
    ours = tape.gradient(loss, [v.value for v in model.trainable_variables])

    target_everywhere = np.zeros((4, 12), "int32")
    weight_everywhere = np.zeros((4, 12), "float32")
    positions = inputs["mask_positions"][:, :-1]
    np.put_along_axis(target_everywhere, positions, targets["mlm"][:, :-1], axis=1)
    np.put_along_axis(weight_everywhere, positions, 1, axis=1)
    head, backbone = model.mlm_head, model.backbone
    with tf.GradientTape() as tape:
        x = backbone({name: inputs[name] for name in backbone.input})["sequence_output"]
        x = x @ head.dense.kernel + head.dense.bias
        x = 0.5 * x * (1 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        x = (x - mean) / tf.sqrt(variance + 1e-12)
        x = x * head.layer_norm.gamma + head.layer_norm.beta
        logits = tf.einsum("blh,vh->blv", x, backbone.token_embedding.embeddings) + head.bias
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(target_everywhere, logits)
        loss = tf.reduce_sum(losses * weight_everywhere) / count
    theirs = tape.gradient(loss, [v.value for v in model.trainable_variables])

    for variable, a, b in zip(model.trainable_variables, ours, theirs, strict=True):
        if variable.path.split("/")[0] in ("pooled_dense", "nsp_head"):
            assert a is None and b is None
            continue
        a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
        np.testing.assert_allclose(a, b, atol=2e-6, rtol=2e-4, err_msg=variable.path)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_in_any_precision(dtype):
    inputs, _, _ = random_records()
    exact, model = small_pretrainer(), small_pretrainer(dtype=dtype)
    assert model.mlm_head.compute_dtype == dtype.removeprefix("mixed_")
    model.set_weights(exact.get_weights())
    for name, logits in keras.tree.map_structure(np.asarray, model(inputs)).items():
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, exact(inputs)[name], atol=0.01)


def test_loss_and_accuracy_count_real_predictions_only():
    model = compiled(small_pretrainer())
    inputs, targets, weights = random_records(6, 12, 5)
    weights["mlm"][:2, 1:] = 0
    outputs = keras.tree.map_structure(np.asarray, model(inputs))
    logs = evaluated(model, inputs, targets, weights)
    total = 0
    for name in ("mlm", "nsp"):
        logits = outputs[name].astype("float64")
        logarithms = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        chosen = np.take_along_axis(logarithms, targets[name][..., None], -1)[..., 0]
        right = logits.argmax(-1) == targets[name]
        mean = -np.average(chosen, weights=weights[name])
        total += mean
        assert logs[f"{name}_loss"] == pytest.approx(mean, rel=1e-5)
        accuracy = np.average(right, weights=weights[name])
        assert logs[f"{name}_accuracy"] == pytest.approx(accuracy)
    assert logs["loss"] == pytest.approx(total, rel=1e-5)


def test_64_sequences_can_be_learned_by_heart():
    model = small_pretrainer(BertSize(1, 64, 2, 128), vocabulary_size=100, max_sequence_length=16)
    schedule = WarmupPolynomialDecay(0.03, 150, warmup_steps=10)
    compiled(model, LAMB(schedule, jit_compile=False), steps_per_execution=50)
    inputs, targets, weights = arrays = random_records(64, 16, 5, 100)
    # The same batch 50 times an epoch.
    x, y, z = keras.tree.map_structure(lambda a: np.concatenate([a] * 50), arrays)
    model.fit(x, y, sample_weight=z, batch_size=64, epochs=3, shuffle=False, verbose=0)
    for name, logits in model(inputs).items():
        right = np.argmax(logits, -1) == targets[name]
        assert np.average(right, weights=weights[name]) > 0.98, name


def test_without_next_sentences(tmp_path, caplog):
    """The pooler is left alone; what was saved gets a new head where one is asked for."""
    model = compiled(small_pretrainer(next_sentence=False), LAMB(0.01, jit_compile=False))
    assert set(model.output) == {"mlm"}
    assert not [v for v in model.trainable_variables if v.path.startswith(("pooled", "nsp"))]
    pooler = np.array(model.backbone.pooled_dense.kernel)
    inputs, targets, weights = random_records()
    model.fit(inputs, {"mlm": targets["mlm"]}, sample_weight={"mlm": weights["mlm"]}, verbose=0)
    np.testing.assert_array_equal(pooler, model.backbone.pooled_dense.kernel)
    save_pretrainer(model, BertTokenizer(Vocabulary(PIECES)), tmp_path / "model")
    with caplog.at_level(logging.INFO, "tfbert"):
        loaded, _ = load_pretrainer(str(tmp_path / "model"))
    assert "no next-sentence head" in caplog.text
    assert set(loaded.output) == {"mlm", "nsp"}


@pytest.mark.parametrize("rematerialize", [False, True])
def test_layers_and_their_dropout_are_frozen_and_trained_again(rematerialize):
    model = small_pretrainer(rematerialize=rematerialize)
    drops, trained = [], []
    for frozen, dropout in ((0, False), (1, True), (1, False), (0, True)):
        model.freeze_lower_layers(frozen, dropout)
        drops.append([layer.drops for layer in model.backbone.transformer_layers])
        trained.append({v.path for v in model.trainable_variables})
    assert drops == [[True, True], [True, True], [False, True], [True, True]]
    upper = {"transformer_layer_1", "pooled_dense", "mlm_head", "nsp_head"}
    assert {path.split("/")[0] for path in trained[1]} == upper
    assert trained[0] == trained[3] == {v.path for v in small_pretrainer().trainable_variables}
    assert trained[1] == trained[2]


def test_the_table_is_the_encoders():
    model = small_pretrainer()
    model.backbone.token_embedding.trainable = False
    model.mlm_head.trainable = False
    model.mlm_head.trainable = True
    assert not model.backbone.token_embedding.trainable
    assert {variable.path for variable in model.mlm_head.weights} == {
        f"mlm_head/{name}"
        for name in ("bias", "dense/bias", "dense/kernel", "layer_norm/beta", "layer_norm/gamma")
    }
    inputs, _, _ = random_records()
    before = np.array(model(inputs)["mlm"])
    table = model.backbone.token_embedding.embeddings
    # Logits of a word that is in no input move with its row only.
    unseen = 49 if 49 not in inputs["token_ids"] else 48
    assert unseen not in inputs["token_ids"]
    table.assign(np.where(np.arange(50)[:, None] == unseen, 0, table))
    after = np.array(model(inputs)["mlm"])
    np.testing.assert_allclose(after[..., unseen], 0, atol=1e-6)
    np.testing.assert_allclose(np.delete(after, unseen, -1), np.delete(before, unseen, -1))


def assert_same_logits(model, other):
    inputs, _, _ = random_records()
    for name, logits in model(inputs).items():
        np.testing.assert_array_equal(logits, other(inputs)[name])


def test_keras_format_round_trip(tmp_path):
    model = compiled(small_pretrainer(dtype="mixed_bfloat16"))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is BertPretrainer
    assert_same_logits(loaded, model)


def test_what_was_saved_goes_on(pretrainer, saved_pretrainer):
    loaded, tokenizer = load_pretrainer(str(saved_pretrainer), "mixed_bfloat16")
    assert tokenizer.vocabulary.pieces == tuple(PIECES)
    assert_same_logits(loaded, pretrainer)
    without, _ = load_pretrainer(str(saved_pretrainer), next_sentence=False)
    np.testing.assert_array_equal(without.mlm_head.bias, pretrainer.mlm_head.bias)


def test_a_plain_encoder_gets_new_heads(caplog, tmp_path):
    plain = shutil.copytree(MODEL_DIRECTORY, tmp_path / "m")
    (plain / HEADS_FILE).unlink()
    with caplog.at_level(logging.INFO, "tfbert"):
        model, _ = load_pretrainer(str(plain))
    assert "no pre-training heads" in caplog.text
    assert not np.any(model.mlm_head.bias)
    kernel = np.array(model.mlm_head.dense.kernel)
    assert 0.01 < kernel.std() < 0.02  # a normal of 0.02 that is cut off at two deviations
    assert abs(kernel).max() <= 0.04


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"PK"),
        lambda path: path.write_bytes(path.read_bytes()[:900]),
        lambda path: np.savez(path, a=np.zeros(2)),
        lambda path: np.savez(path, **{"mlm_head/dense/kernel": np.zeros(2)}),
    ],
    ids=["no archive", "cut off", "other names", "other shapes"],
)
def test_damaged_heads_are_named(saved_pretrainer, copied, damage):
    directory = copied(saved_pretrainer)
    damage(directory / HEADS_FILE)
    with pytest.raises(InputError, match=r"pretraining_heads\.npz: damaged"):
        load_pretrainer(str(directory))


def test_kernels_begin_as_in_bert():
    model = small_pretrainer(vocabulary_size=500)
    for variable in model.weights:
        value = np.array(variable)
        if variable.path.endswith(("bias", "beta")):
            assert not value.any(), variable.path
        elif variable.path.endswith("gamma"):
            assert (value == 1).all(), variable.path
        else:
            assert np.abs(value).max() <= 0.04 + 1e-6, variable.path
    assert type(model.backbone) is BertEncoder
