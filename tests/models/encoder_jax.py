"""KERAS_BACKEND=jax: the encoder inside jax.jit against KerasHub's, with and without dropout.

Prints the name of each part that passed.
"""

import logging
import re

import jax
import keras
import numpy as np
from helpers.small_encoder import INPUTS, PROJECTION, distance, make_stock

from tfbert.errors import InputError
from tfbert.hardware.jax_devices import JaxDevices
from tfbert.models.encoder import from_stock
from tfbert.models.layers import attention_choice, self_attention
from tfbert.models.layers.attention_choice import choose_attention, use_attention
from tfbert.models.layers.dropout import Dropout


def main():
    assert keras.backend.backend() == "jax"
    stock = make_stock(num_layers=1)
    check_stock(stock)
    print("stock")
    check_dropout()
    print("dropout")
    check_rematerialisation(stock)
    print("rematerialisation")
    check_fused_attention(stock)
    print("fused_attention")
    check_choice(stock)
    print("choice")
    check_fit(stock)
    print("fit")


def gradients(model, training):
    """Output and gradients by path, from one compiled function."""
    fixed = [v.value for v in model.non_trainable_variables]

    def loss(weights):
        outputs, _ = model.stateless_call(weights, fixed, INPUTS, training=training)
        return (outputs["sequence_output"] * PROJECTION).sum(), outputs["sequence_output"]

    weights = [v.value for v in model.trainable_variables]
    (_, output), found = jax.jit(jax.value_and_grad(loss, has_aux=True))(weights)
    paths = [v.path for v in model.trainable_variables]
    return np.asarray(output), dict(zip(paths, map(np.float64, found), strict=True))


def assert_same(found, expected):
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)
    assert distance(found[1], expected[1]) < 1e-5


def check_stock(stock):
    encoder = from_stock(stock, dropout=0.0)
    assert_same(gradients(encoder, training=True), gradients(stock, training=False))


def check_dropout():
    for bits, used in ((8, 26 / 256), (16, 6554 / 65536)):
        layer = Dropout(0.1, bits=bits, seed=1)
        outputs = np.asarray(layer(np.ones(400_000, "float32"), training=True))
        kept = outputs != 0
        assert abs((~kept).mean() - used) < 4 * np.sqrt(used * (1 - used) / outputs.size)
        np.testing.assert_allclose(outputs[kept], 1 / (1 - used), rtol=1e-6)
        for lag in (1, 2, 4, 384):
            score = np.corrcoef(kept[:-lag], kept[lag:])[0, 1] * np.sqrt(outputs.size)
            assert abs(score) < 4


def check_rematerialisation(stock):
    """The seeds are the generators' states, which both models start with alike."""
    plain = from_stock(stock, dropout=0.2)
    remade = from_stock(stock, dropout=0.2, rematerialize=True)
    for a, b in zip(plain.non_trainable_variables, remade.non_trainable_variables, strict=True):
        b.assign(a)
    expected = gradients(plain, training=True)
    assert_same(gradients(remade, training=True), expected)
    without, _ = gradients(plain, training=False)
    assert np.abs(expected[0] - without).max() > 0.1


def check_fused_attention(stock):
    """Rows of different lengths, each with its own mask, one of them padding only."""
    plain = from_stock(stock, dropout=0.0)
    fused = from_stock(stock, dropout=0.0, fused_attention=True)
    (output, found), expected = gradients(fused, training=True), gradients(plain, training=True)
    assert_same((output[:5], found), (expected[0][:5], expected[1]))
    try:
        from_stock(stock, dropout=0.1, attention_dropout=0.2, fused_attention=True)
    except ValueError as error:
        assert "attention_dropout is 0.2, not 0" in str(error)
    else:
        raise AssertionError("dropout was not refused")


class Pretended(JaxDevices):
    """A CPU that says it is a GPU."""

    platform = "gpu"


def check_choice(stock):
    rounded, without = from_stock(stock), from_stock(stock, attention_dropout=0.0)
    gpu, cpu = Pretended(jax.local_devices()), JaxDevices(jax.local_devices())

    def chosen(requested, encoder, devices, earlier=None):
        lines = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())
        log.addHandler(handler)
        try:
            return choose_attention(requested, encoder, devices, 4, 17, earlier), " ".join(lines)
        finally:
            log.removeHandler(handler)

    log = logging.getLogger("tfbert")
    log.setLevel("INFO")
    assert chosen("auto", without, cpu) == ("plain", "")  # not measured
    form, line = chosen("auto", without, gpu)
    assert re.search(r"attention: (\w+), .*4 x 17 tokens: plain [\d.]+ ms, fused [\d.]+ ms", line)
    times = {name: float(ms) for name, ms in re.findall(r"(\w+) ([\d.]+) ms", line)}
    assert form == min(times, key=times.get) and form in line
    assert chosen("auto", without, gpu) == (form, "")  # once
    for earlier in ("plain", "fused"):
        assert chosen("auto", without, gpu, earlier) == (earlier, "")
        assert chosen(earlier, without, cpu) == (earlier, "")
    form, line = chosen("auto", rounded, gpu)
    assert form == "plain" and "--attention-dropout 0" in line
    try:
        chosen("fused", rounded, gpu)
    except InputError as error:
        assert "whose rate is 0.1: give --attention-dropout 0" in str(error)
    else:
        raise AssertionError("dropout was not refused")

    attention_choice.gpu_capabilities = lambda: [(9, 0)]
    try:
        chosen("fused", without, cpu)
    except InputError as error:
        assert "the CPU was asked for: give --attention plain" in str(error)
    else:
        raise AssertionError("a GPU's kernel was taken for a CPU")
    attention_choice.gpu_capabilities = list

    def missing(*arguments):
        raise RuntimeError("no kernel for this device")

    attention_choice._FORMS["fused"] = missing
    attention_choice._faster.cache_clear()
    form, line = chosen("auto", without, gpu)
    assert form == "plain" and "fused cannot be computed (no kernel for this device)" in line
    expected = gradients(without, training=False)
    use_attention(without, "fused")
    assert without.get_config()["fused_attention"]
    calls, fused = [], self_attention.fused_attention
    self_attention.fused_attention = lambda *given: calls.append(given) or fused(*given)
    output, found = gradients(without, training=False)
    assert len(calls) == 1  # a layer, traced once
    assert_same((output[:5], found), (expected[0][:5], expected[1]))


def check_fit(stock):
    encoder = from_stock(stock, rematerialize=True)
    outputs = keras.layers.Dense(1)(encoder(encoder.input)["pooled_output"])
    model = keras.Model(encoder.input, outputs)
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    history = model.fit(INPUTS, np.ones((6, 1)), epochs=8, batch_size=6, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


if __name__ == "__main__":
    main()
