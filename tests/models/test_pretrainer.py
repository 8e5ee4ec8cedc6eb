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
from transformers_weights import assign_weights

from tfbert.embedded import MODEL_DIRECTORY
from tfbert.errors import InputError
from tfbert.models.encoder import BertEncoder
from tfbert.models.pretrainer import (
    HEADS_FILE,
    BertPretrainer,
    load_pretrainer,
    make_pretrainer,
    save_pretrainer,
)
from tfbert.models.sizes import BertSize
from tfbert.optimizers.lamb import LAMB
from tfbert.optimizers.schedules import WarmupPolynomialDecay
from tfbert.text.tokenizer import make_tokenizer

GOLDEN = Path(__file__).parent / "golden" / "transformers_pretraining.npz"
SIZE = BertSize(num_layers=2, hidden_dim=16, num_heads=2, intermediate_dim=32)
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(45))]


def make(**options):
    keras.utils.set_random_seed(1)
    return make_pretrainer(
        SIZE, **{"vocabulary_size": 50, "max_sequence_length": 12, "dropout": 0.0, **options}
    )


def random_records(examples, length, predictions, vocabulary, seed=0):
    """Arrays as `PretrainingRecords.batch` gives them; the last prediction is padding."""
    random = np.random.default_rng(seed)
    ids = random.integers(5, vocabulary, (examples, length)).astype("int32")
    places = random.permuted(np.tile(np.arange(1, length), (examples, 1)), axis=1)
    positions = np.sort(places[:, :predictions], axis=1).astype("int32")
    positions[:, -1] = 0
    weights = np.ones(positions.shape, "float32")
    weights[:, -1] = 0
    originals = np.take_along_axis(ids, positions, axis=1)
    masked = ids.copy()
    np.put_along_axis(masked, positions[:, :-1], 4, axis=1)
    inputs = {
        "token_ids": masked,
        "segment_ids": np.tile((np.arange(length) > length // 2) * 1, (examples, 1)).astype(
            "int32"
        ),
        "padding_mask": np.ones_like(ids),
        "mask_positions": positions,
    }
    targets = {"mlm": originals, "nsp": random.integers(0, 2, examples).astype("int32")}
    return inputs, targets, {"mlm": weights, "nsp": np.ones(examples, "float32")}


def compiled(model, optimizer="sgd"):
    model.compile(
        optimizer,
        loss=model.pretraining_losses(),
        weighted_metrics=model.pretraining_metrics(),
        jit_compile=False,
    )
    return model


def check_against_transformers(path):
    """Logits at every position equal those of the model that the file holds."""
    golden = dict(np.load(path))
    model = make()
    weights = {name.removeprefix("weights/"): value for name, value in golden.items()}
    assign_weights(model, weights)
    inputs = {
        name.removeprefix("inputs/"): golden[name] for name in golden if name.startswith("inputs/")
    }
    everywhere = np.broadcast_to(np.arange(11, dtype="int32"), (3, 11))
    outputs = model({**inputs, "mask_positions": everywhere})
    # Transformers also computes an output where there is only padding, from the same attention.
    np.testing.assert_allclose(outputs["mlm"], golden["mlm"], atol=1e-4)
    np.testing.assert_allclose(outputs["nsp"], golden["nsp"], atol=1e-4)
    assert np.abs(golden["mlm"]).max() > 1


def test_the_same_logits_as_transformers():
    check_against_transformers(GOLDEN)


@pytest.mark.slow
def test_the_same_logits_as_transformers_with_fresh_weights(tmp_path):
    pytest.importorskip("transformers", reason="needs the extra `benchmarks`")
    script = Path(__file__).parents[2] / "scripts" / "transformers_reference.py"
    subprocess.run([sys.executable, script, tmp_path / "fresh.npz", "7"], check=True)
    check_against_transformers(tmp_path / "fresh.npz")


def test_the_initial_loss_is_that_of_guessing():
    model = compiled(
        make_pretrainer(BertSize(2, 128, 2, 512), 8_000, dropout=0.1, max_sequence_length=64)
    )
    logs = model.evaluate(
        *random_records(32, 64, 10, 8_000)[:2],
        sample_weight=random_records(32, 64, 10, 8_000)[2],
        return_dict=True,
        verbose=0,
    )
    assert logs["loss"] == pytest.approx(math.log(8_000) + math.log(2), rel=0.02)
    assert logs["mlm_loss"] == pytest.approx(math.log(8_000), rel=0.02)
    assert logs["nsp_loss"] == pytest.approx(math.log(2), rel=0.1)


def test_the_gradient_is_that_of_a_head_over_all_positions():
    model = make()
    # Biases and scales away from their initial values, which would hide what they do.
    random = np.random.default_rng(2)
    for variable in model.weights:
        variable.assign(variable + random.normal(0, 0.2, variable.shape))
    inputs, targets, weights = random_records(4, 12, 4, 50)
    count = weights["mlm"].sum()

    with tf.GradientTape() as tape:
        logits = model(inputs)["mlm"]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets["mlm"], logits)
        loss = tf.reduce_sum(losses * weights["mlm"]) / count
    ours = tape.gradient(loss, [v.value for v in model.trainable_variables])

    target_everywhere = np.zeros((4, 12), "int32")
    weight_everywhere = np.zeros((4, 12), "float32")
    for row in range(4):
        for place, target in zip(
            inputs["mask_positions"][row, :-1], targets["mlm"][row], strict=False
        ):
            target_everywhere[row, place] = target
            weight_everywhere[row, place] = 1
    head, backbone = model.mlm_head, model.backbone
    with tf.GradientTape() as tape:
        encoder_inputs = {name: inputs[name] for name in backbone.input}
        x = backbone(encoder_inputs)["sequence_output"]
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
    inputs, _, _ = random_records(4, 12, 4, 50)
    exact, model = make(), make(dtype=dtype)
    assert model.mlm_head.compute_dtype == dtype.removeprefix("mixed_")
    model.set_weights(exact.get_weights())
    for name, logits in keras.tree.map_structure(np.asarray, model(inputs)).items():
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, exact(inputs)[name], atol=0.01)


def test_loss_and_accuracy_count_real_predictions_only():
    model = compiled(make())
    inputs, targets, weights = random_records(6, 12, 5, 50)
    weights["mlm"][:2, 1:] = 0
    outputs = keras.tree.map_structure(np.asarray, model(inputs))
    logs = model.evaluate(inputs, targets, sample_weight=weights, return_dict=True, verbose=0)
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
    keras.utils.set_random_seed(4)
    model = make_pretrainer(BertSize(2, 64, 2, 128), 100, dropout=0.0, max_sequence_length=16)
    compiled(model, LAMB(WarmupPolynomialDecay(0.03, 150, warmup_steps=10)))
    inputs, targets, weights = random_records(64, 16, 5, 100)
    data = {"x": inputs, "y": targets, "sample_weight": weights, "batch_size": 64, "verbose": 0}
    model.fit(**data, epochs=150)
    logs = model.evaluate(**data, return_dict=True)
    assert logs["mlm_accuracy"] > 0.98
    assert logs["nsp_accuracy"] > 0.98


def test_without_next_sentences_the_pooler_is_left_alone():
    model = compiled(make(next_sentence=False), LAMB(0.01))
    assert set(model.output) == {"mlm"}
    assert not [v for v in model.trainable_variables if v.path.startswith(("pooled", "nsp"))]
    pooler = np.array(model.backbone.pooled_dense.kernel)
    inputs, targets, weights = random_records(4, 12, 4, 50)
    model.fit(inputs, {"mlm": targets["mlm"]}, sample_weight={"mlm": weights["mlm"]}, verbose=0)
    np.testing.assert_array_equal(pooler, model.backbone.pooled_dense.kernel)


def test_layers_are_frozen_and_trained_again():
    model = make()
    everything = {v.path for v in model.trainable_variables}
    model.freeze_lower_layers(1)
    upper = {v.path.split("/")[0] for v in model.trainable_variables}
    assert upper == {"transformer_layer_1", "pooled_dense", "mlm_head", "nsp_head"}
    model.freeze_lower_layers(0)
    assert {v.path for v in model.trainable_variables} == everything


def test_the_table_is_the_encoders():
    model = make()
    model.backbone.token_embedding.trainable = False
    model.mlm_head.trainable = False
    model.mlm_head.trainable = True
    assert not model.backbone.token_embedding.trainable
    paths = [variable.path for variable in model.mlm_head.weights]
    assert sorted(paths) == [
        "mlm_head/bias",
        "mlm_head/dense/bias",
        "mlm_head/dense/kernel",
        "mlm_head/layer_norm/beta",
        "mlm_head/layer_norm/gamma",
    ]
    inputs, _, _ = random_records(4, 12, 4, 50)
    before = np.array(model(inputs)["mlm"])
    table = model.backbone.token_embedding.embeddings
    # Logits of a word that is in no input move with its row only.
    unseen = 49 if 49 not in inputs["token_ids"] else 48
    assert unseen not in inputs["token_ids"]
    table.assign(np.where(np.arange(50)[:, None] == unseen, 0, table))
    after = np.array(model(inputs)["mlm"])
    np.testing.assert_allclose(after[..., unseen], 0, atol=1e-6)
    np.testing.assert_allclose(np.delete(after, unseen, -1), np.delete(before, unseen, -1))


def test_keras_format_round_trip(tmp_path):
    model = compiled(make(dtype="mixed_bfloat16"))
    inputs, _, _ = random_records(4, 12, 4, 50)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is BertPretrainer
    for name, logits in loaded(inputs).items():
        np.testing.assert_array_equal(logits, model(inputs)[name])


@pytest.fixture
def saved(tmp_path):
    """A model with weights unlike new ones, and where it was saved."""
    model = make(dtype="mixed_bfloat16")
    random = np.random.default_rng(3)
    for variable in model.weights:
        variable.assign(random.normal(0, 0.3, variable.shape))
    directory = tmp_path / "model"
    save_pretrainer(model, make_tokenizer(PIECES, lowercase=True), directory)
    return model, directory


def test_stock_classes_open_what_was_saved(saved):
    model, directory = saved
    code = (
        "import sys, keras_hub\n"
        "backbone = keras_hub.models.Backbone.from_preset(sys.argv[1])\n"
        "tokenizer = keras_hub.models.Tokenizer.from_preset(sys.argv[1])\n"
        "assert type(backbone) is keras_hub.models.BertBackbone\n"
        "assert tokenizer.vocabulary_size() == 50\n"
        "print(float(abs(backbone.token_embedding.embeddings.numpy()).sum()))\n"
        "assert not [name for name in sys.modules if name.startswith('tfbert')]"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, directory], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    table = np.abs(model.backbone.token_embedding.embeddings).sum()
    assert float(done.stdout) == pytest.approx(table, rel=1e-5)


def test_what_was_saved_goes_on(saved):
    model, directory = saved
    loaded, tokenizer = load_pretrainer(str(directory), "mixed_bfloat16")
    assert tokenizer.get_vocabulary() == PIECES
    inputs, _, _ = random_records(4, 12, 4, 50)
    for name, logits in loaded(inputs).items():
        np.testing.assert_array_equal(logits, model(inputs)[name])
    without, _ = load_pretrainer(str(directory), next_sentence=False)
    np.testing.assert_array_equal(without.mlm_head.bias, model.mlm_head.bias)


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


def test_heads_saved_without_a_next_sentence_head(tmp_path, caplog):
    save_pretrainer(make(next_sentence=False), make_tokenizer(PIECES, True), tmp_path / "m")
    with caplog.at_level(logging.INFO, "tfbert"):
        model, _ = load_pretrainer(str(tmp_path / "m"))
    assert "no next-sentence head" in caplog.text
    assert set(model.output) == {"mlm", "nsp"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"PK"),
        lambda path: path.write_bytes(path.read_bytes()[:900]),
        lambda path: np.savez(path, a=np.zeros(2)),
        lambda path: np.savez(path, **{"mlm_head/dense/kernel": np.zeros(2)}),
    ],
)
def test_damaged_heads_are_named(saved, damage):
    _, directory = saved
    damage(directory / HEADS_FILE)
    with pytest.raises(InputError, match=r"pretraining_heads\.npz: damaged"):
        load_pretrainer(str(directory))


def test_kernels_begin_as_in_bert():
    model = make(vocabulary_size=500)
    for variable in model.weights:
        value = np.array(variable)
        if variable.path.endswith(("bias", "beta")):
            assert not value.any(), variable.path
        elif variable.path.endswith("gamma"):
            assert (value == 1).all(), variable.path
        else:
            assert np.abs(value).max() <= 0.04 + 1e-6, variable.path
    assert type(model.backbone) is BertEncoder
