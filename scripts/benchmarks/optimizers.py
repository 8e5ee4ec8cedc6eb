"""Time of one update of BERT-Base's variables on a CPU; writes docs/benchmark_optimizers.md.

    python scripts/benchmarks/optimizers.py [--output FILE] [--rounds N] [--tiny]

All forms take turns in one run, 2 to 4 minutes and 16 GB of memory on 2 cores. jax, optax and
torch (the extra `benchmarks`) are left out, and named as missing, where they are not installed.
"""

import concurrent.futures
import os
import platform
import statistics
import time

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from shared.machine import versions
from shared.page import make_parser, reached, table, write_page
from shared.turns import take_turns, timed

import tfbert

# Read the gradient, the weight and two slots, write the last three: float32.
BYTES_PER_PARAMETER = 28
TARGET = 0.85
STOCK, OURS = "keras Lamb", "tfbert.LAMB"


def main():
    parser = make_parser(__doc__, "benchmark_optimizers.md", "two layers of 64", rounds=9)
    arguments = parser.parse_args()
    shapes = bert_shapes(2, 64, 1000) if arguments.tiny else bert_shapes(12, 768, 30_522)
    parameters = sum(int(np.prod(shape)) for shape in shapes.values())
    bandwidth = copy_bandwidth(1 << 22 if arguments.tiny else 1 << 27)
    random = np.random.RandomState(0)
    gradients = {k: np.asarray(random.normal(size=s) * 1e-3, "float32") for k, s in shapes.items()}
    forms, missing = {}, []
    for make in (keras_forms, optax_form, torch_form):
        try:
            forms |= make(gradients)
        except ImportError as error:
            missing.append(error.name)
    forms = {name: timed(run) for name, run in forms.items()}
    first = {name: form(1) for name, form in forms.items()}
    times = take_turns(forms, 1, arguments.rounds, warmup=1)
    text = report(parameters, bandwidth, first, times, missing, slots_per_parameter(shapes))
    write_page(arguments.output, text)


def bert_shapes(layers, width, vocabulary):
    """`{path: shape}` of KerasHub's BertBackbone: 199 variables for BERT-Base."""
    backbone = keras_hub.models.BertBackbone(vocabulary, layers, width // 64, width, 4 * width)
    return {v.path: tuple(v.shape) for v in backbone.trainable_variables}


def copy_bandwidth(elements):
    """Bytes a second, read and written, of a float32 copy with all cores; the best of 10."""
    source, target = np.ones(elements, "float32"), np.zeros(elements, "float32")
    cores = os.cpu_count()
    parts = [slice(k * elements // cores, (k + 1) * elements // cores) for k in range(cores)]
    best = float("inf")
    with concurrent.futures.ThreadPoolExecutor(cores) as pool:
        for _ in range(10):
            start = time.perf_counter()
            list(pool.map(lambda part: np.copyto(target[part], source[part]), parts))
            best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes / best


def initial(shape):
    """The same weights for every form, of BERT's initial spread."""
    return np.asarray(np.random.RandomState(1).normal(size=shape) * 0.02, "float32")


def keras_variables(shapes):
    """`{path: shape}` as Keras variables."""
    variables = []
    for path, shape in shapes.items():
        part, name = path.rsplit("/", 1)
        with keras.name_scope(part.replace("/", "_")):
            variables.append(keras.Variable(initial(shape), name=name))
    return variables


def keras_forms(gradients):
    """Functions that update once, by name: Keras' optimizers and ours."""
    mirrored = tf.distribute.MirroredStrategy(["CPU:0"])
    gradients = {k: tf.constant(g) for k, g in gradients.items()}

    def form(optimizer_of, strategy=mirrored, jit_compile=None):
        with strategy.scope():
            variables = keras_variables({k: g.shape for k, g in gradients.items()})
            optimizer = optimizer_of()
            optimizer.build(variables)

        def apply():
            optimizer.apply(list(gradients.values()), variables)

        on_replicas = apply if jit_compile else lambda: strategy.run(apply)
        update = tf.function(on_replicas, jit_compile=jit_compile, autograph=False)

        def run():
            update()
            optimizer.iterations.numpy()  # waits for the update

        return run

    one_replica = tf.distribute.get_strategy()
    mirrored_forms = {
        STOCK: lambda: keras.optimizers.Lamb(1e-3),
        OURS: lambda: tfbert.LAMB(1e-3),
        "tfbert.LAMB.mlperf (clipped)": lambda: tfbert.LAMB.mlperf(1e-3),
        "tfbert.LossScaleOptimizer(LAMB)": lambda: tfbert.LossScaleOptimizer(
            tfbert.LAMB(1e-3), initial_scale=1.0
        ),
        "tfbert.LAMB(jit_compile=False)": lambda: tfbert.LAMB(1e-3, jit_compile=False),
        "keras AdamW": lambda: keras.optimizers.AdamW(1e-3),
        "tfbert.AdamW": lambda: tfbert.AdamW(1e-3),
    }
    forms = {f"{name}, MirroredStrategy": form(make) for name, make in mirrored_forms.items()}
    for name in (STOCK, OURS):
        whole = f"{name}, whole step under XLA, no strategy"
        forms[whole] = form(mirrored_forms[name], one_replica, True)
    return forms


def optax_form(gradients):
    """optax.lamb in one jax.jit, its buffers donated."""
    import jax
    import optax

    transformation = optax.lamb(1e-3, weight_decay=0.01)
    gradients = {k: jax.numpy.asarray(g) for k, g in gradients.items()}
    parameters = {k: jax.numpy.asarray(initial(g.shape)) for k, g in gradients.items()}
    state = parameters, transformation.init(parameters)

    def update(gradients, parameters, state):
        updates, state = transformation.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state

    jitted = jax.jit(update, donate_argnums=(1, 2))

    def run():
        nonlocal state
        state = jax.block_until_ready(jitted(gradients, *state))

    return {"optax.lamb, jax.jit": run}


def torch_form(gradients):
    """torch.optim.AdamW in its fused form."""
    import torch

    parameters = []
    for gradient in gradients.values():
        parameter = torch.nn.Parameter(torch.from_numpy(initial(gradient.shape)))
        parameter.grad = torch.from_numpy(gradient)
        parameters.append(parameter)
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01, fused=True)
    return {"torch AdamW, fused": optimizer.step}


def slots_per_parameter(shapes):
    """Elements of LAMB's state for each parameter, without and with a moving average."""
    sizes = []
    for options in ({}, {"use_ema": True}):
        variables = keras_variables({k: shapes[k] for k in list(shapes)[:8]})
        optimizer = tfbert.LAMB(**options)
        optimizer.build(variables)
        count = sum(int(np.prod(v.shape)) for v in optimizer.variables)
        sizes.append(count / sum(int(np.prod(v.shape)) for v in variables))
    return sizes


def report(parameters, bandwidth, first, times, missing, slots):
    """The page, as Markdown."""
    medians = {name: statistics.median(t) for name, t in times.items()}
    stock, ours = (f"{name}, MirroredStrategy" for name in (STOCK, OURS))
    limit = parameters * BYTES_PER_PARAMETER / bandwidth
    rows = [
        [
            name,
            f"{1e3 * median:.0f}",
            f"{median / medians[stock]:.2f}",
            f"{median / limit:.1f}",
            f"{first[name]:.1f}",
        ]
        for name, median in medians.items()
    ]
    heads = ["form", "ms", "of stock Lamb", "of the limit", "first call, s"]
    ratio = medians[ours] / medians[stock]
    best = min((name for name in medians if name.startswith("tfbert.LAMB")), key=medians.get)
    left_out = f"Left out, because not installed: {', '.join(missing)}.\n" if missing else ""
    return f"""# One update of {parameters / 1e6:.1f} M parameters on a CPU

Written by `python scripts/benchmarks/optimizers.py`: medians of {len(times[stock])} rounds in
which all forms take turns. {platform.processor() or platform.machine()}, {os.cpu_count()} cores,
{versions("TensorFlow", "Keras")}.

The memory limit is {BYTES_PER_PARAMETER} bytes a parameter at the copy bandwidth measured in the
same run, {bandwidth / 1e9:.1f} GB/s: {1e3 * limit:.0f} ms. A trust ratio needs a second pass over
the weights, which is not in it.

{chr(10).join(table(heads, rows))}

`{ours}` takes {ratio:.2f} of `{stock}`; the target is at most {TARGET}
({reached(ratio <= TARGET)}). The best form of ours is `{best}`.
{left_out}
LAMB's state is {slots[0]:.4f} float32 values a parameter, {slots[1]:.4f} with a moving average:
two slots, or three, and one scalar more for each variable.
"""


if __name__ == "__main__":
    main()
