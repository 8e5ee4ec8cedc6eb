"""One form of gpu.py on JAX: `python gpu_jax.py REQUEST`, JSON; prints its numbers as JSON."""

import json
import sys

import jax
import keras
import numpy as np
from gpu_timing import (
    FINE_TUNING_ROWS,
    MAX_LENGTH,
    VOCABULARY,
    random_batch,
    seconds_a_step,
    shape_of,
    size_of,
    sst2_lengths,
    steps_of,
)

import tfbert
from tfbert.hardware.peaks import matmul_peak
from tfbert.models.classifier import BertClassifier
from tfbert.models.encoder import BertEncoder
from tfbert.models.layers.attention_choice import (
    choose_attention,
    seconds_of_attention,
    use_attention,
)
from tfbert.models.pretrainer import make_pretrainer
from tfbert.models.sizes import BertSize
from tfbert.tasks.tokens.batching import LengthBatches, fitted_lengths, padded_length

POLICY = "mixed_bfloat16"


def main(request):
    request = json.loads(request)
    made = {
        "machine": machine,
        "attention": attention,
        "pretraining": pretraining,
        "lamb": lamb,
        "finetuning": finetuning,
    }[request["what"]](request)
    memory = jax.local_devices()[0].memory_stats() or {}
    print(json.dumps({**made, "memory": memory.get("peak_bytes_in_use")}))


def machine(request):
    """What this is, and how fast it is at most."""
    device = jax.local_devices()[0]
    elements = 2**18 if request["tiny"] else 2**29  # float32
    copy = jax.jit(lambda array: array + 1, donate_argnums=0)
    array = jax.numpy.zeros(elements, "float32")

    def run(steps):
        nonlocal array
        for _ in range(steps):
            array = copy(array)
        array.block_until_ready()

    versions = {"JAX": jax.__version__, "Keras": keras.__version__, "tfbert": tfbert.__version__}
    return {
        "platform": device.platform,
        "device": device.device_kind,
        "versions": versions,
        "matmul": 1.0 if request["tiny"] else matmul_peak("bfloat16"),
        "bandwidth": 8 * elements / seconds_a_step(run, *steps_of(request, 10, 30))["seconds"],
    }


def attention(request):
    """Seconds of a layer's attention in each form, by shape."""
    device = jax.local_devices()[0]
    shapes = [(2, 16, 2, 8)] if request["tiny"] else request["shapes"]
    found = {}
    for shape in map(tuple, shapes):
        for form in ("plain", "fused"):
            seconds = seconds_of_attention(form, shape, "bfloat16", device)
            found.setdefault("x".join(map(str, shape)), {})[form] = seconds
    return {"layers": found}


def repeated(batch):
    """A batch without end."""
    while True:
        yield batch


def timed_fit(model, batch, request):
    """Seconds of a step of `fit`."""

    def run(steps):
        model.fit(repeated(batch), steps_per_epoch=steps, verbose=0)

    return seconds_a_step(run, *steps_of(request, 10, 40))


def pretraining(request):
    """A step of pre-training by tfbert, with or without dropout on attention, or by stock Keras."""
    keras.utils.set_random_seed(0)
    rows, length, predictions = shape_of(request)
    inputs, places, targets, order = random_batch(rows, length, predictions)
    inputs = {**inputs, "mask_positions": places}
    size = BertSize(*size_of(request))
    if request["form"] == "stock":
        batch = inputs, targets, np.ones(targets.shape, "float32")
        return {**timed_fit(stock(size), batch, request), "batch": rows}
    rate = 0.0 if request["form"] == "tfbert-attention0" else None
    model = make_pretrainer(size, VOCABULARY, dtype=POLICY, attention_dropout=rate)
    form = choose_attention("auto", model.backbone, model.distribute_strategy, rows, length)
    use_attention(model.backbone, form)
    model.compile(
        tfbert.LAMB(1e-4, max_grad_norm=1.0),
        loss=model.pretraining_losses(),
        weighted_metrics=model.pretraining_metrics(),
        steps_per_execution=10,
    )
    targets = {"mlm": targets, "nsp": order}
    weights = {name: np.ones(target.shape, "float32") for name, target in targets.items()}
    found = timed_fit(model, (inputs, targets, weights), request)
    return {**found, "batch": rows, "attention": form}


def stock(size):
    """KerasHub's `BertMaskedLM` with Keras' own `Lamb`: no next-sentence head.

    Its layers in a plain model: its own `fit` prepares data by TensorFlow.
    """
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        VOCABULARY,
        size.num_layers,
        size.num_heads,
        size.hidden_dim,
        size.intermediate_dim,
        dropout=0.1,
        dtype=POLICY,
    )
    whole = keras_hub.models.BertMaskedLM(backbone, preprocessor=None)
    model = keras.Model(whole.input, whole.output)
    model.compile(
        keras.optimizers.Lamb(1e-4, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy()],
        steps_per_execution=10,
    )
    return model


def lamb(request):
    """LAMB's update of all weights, and how many there are."""
    model = make_pretrainer(BertSize(*size_of(request)), VOCABULARY)
    optimizer = tfbert.LAMB(1e-4)
    optimizer.build(model.trainable_variables)
    update = jax.jit(optimizer.stateless_apply, donate_argnums=(0, 2))
    random = np.random.default_rng(0)
    gradients = [
        jax.numpy.asarray(1e-3 * random.normal(size=v.shape), "float32")
        for v in model.trainable_variables
    ]
    # Copies: the arrays of variables must not be given away.
    state = [v.value + 0 for v in optimizer.variables]
    weights = [v.value + 0 for v in model.trainable_variables]

    def run(steps):
        nonlocal state, weights
        for _ in range(steps):
            weights, state = update(state, gradients, weights)
        jax.block_until_ready(weights)

    parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    return {**seconds_a_step(run, *steps_of(request, 10, 30)), "parameters": parameters}


class Batches:
    """Some of an epoch's batches; what `fit` takes."""

    def __init__(self, batches, count):
        self.batches, self.count = batches, count

    def __len__(self):
        return self.count

    def __iter__(self):
        return iter(self.batches[: self.count])


def finetuning(request):
    """A step of fine-tuning as `tfbert finetune` divides SST-2 into batches; random weights."""
    size = BertSize(*size_of(request))
    backbone = BertEncoder(
        VOCABULARY,
        size.num_layers,
        size.num_heads,
        size.hidden_dim,
        size.intermediate_dim,
        dtype=POLICY,
    )
    model = BertClassifier(backbone, 2)
    model.compile(
        tfbert.AdamW(3e-5, weight_decay=0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
    )
    few, many = steps_of(request, 200, 800)
    tokens = sst2_lengths()
    epoch = LengthBatches(tokens, FINE_TUNING_ROWS, seed=1).epoch(0)
    lengths = fitted_lengths(np.array([tokens[rows].max() for rows in epoch]), MAX_LENGTH)
    batches, padded, real = [], 0, 0
    for rows in epoch[:many]:
        length = padded_length(tokens[rows], lengths)
        ids = np.random.default_rng(len(batches)).integers(5, VOCABULARY, (len(rows), length))
        mask = (np.arange(length) < tokens[rows, None]).astype("int32")
        inputs = {"token_ids": (ids * mask).astype("int32"), "padding_mask": mask}
        inputs["segment_ids"] = np.zeros_like(mask)
        labels = ids[:, 0].astype("int32") % 2
        batches.append((inputs, labels, np.ones(len(rows), "float32")))
        padded, real = padded + mask.size, real + int(mask.sum())
    found = seconds_a_step(lambda n: model.fit(Batches(batches, n), verbose=0), few, many)
    return {
        **found,
        "rows": FINE_TUNING_ROWS,
        "padding": 1 - real / padded,
        "compilations": model.train_function.compilations,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
