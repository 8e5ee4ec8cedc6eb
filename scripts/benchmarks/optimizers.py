"""Time of one update of BERT-Base's variables on a CPU; writes docs/benchmark_optimizers.md.

    python scripts/benchmarks/optimizers.py [--output FILE] [--rounds N] [--tiny]
        [--torch-python PYTHON]

All forms take turns in one run, 2 to 4 minutes and 16 GB of memory on 2 cores; torch's in a process
of its own, `optimizers_torch.py`, by the Python that has it. jax, optax (the extra `benchmarks`)
and torch are left out, and named as missing, where they are not installed.
"""

import functools
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from shared.machine import answer_of, hardware, versions
from shared.page import make_parser, reached, table, write_page
from shared.turns import take_turns, timed

import tfbert

# Read the gradient, the weight and two slots, write the last three: float32.
BYTES_PER_PARAMETER = 28
STOCK, OURS = "keras Lamb", "tfbert.LAMB"
STOCK_ADAMW, OUR_ADAMW = "keras AdamW", "tfbert.AdamW"
GOALS = {OUR_ADAMW: 2.0, OURS: 2.5}  # in multiples of the memory limit


def main():
    parser = make_parser(__doc__, "benchmark_optimizers.md", "two layers of 64", rounds=9)
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has torch")
    arguments = parser.parse_args()
    shapes = bert_shapes(2, 64, 1000) if arguments.tiny else bert_shapes(12, 768, 30_522)
    parameters = sum(int(np.prod(shape)) for shape in shapes.values())
    script, elements = Path(__file__).with_name("copy_bandwidth.py"), 1 << 26
    copies = [answer_of(script, elements) for _ in range(12)] if not arguments.tiny else [1e10]
    random = np.random.RandomState(0)
    gradients = {k: np.asarray(random.normal(size=s) * 1e-3, "float32") for k, s in shapes.items()}
    forms, missing = {}, []
    for make in (keras_forms, optax_form):
        try:
            forms |= make(gradients)
        except ImportError as error:
            missing.append(error.name)
    forms = {name: timed(run) for name, run in forms.items()}
    try:
        forms["torch AdamW, fused"] = torch_form(arguments.torch_python, shapes)
    except BrokenPipeError:
        missing.append("torch")
    first = {name: form(1) for name, form in forms.items()}
    times = take_turns(forms, 1, arguments.rounds, warmup=1)
    text = report(parameters, copies, first, times, missing, slots_per_parameter(shapes))
    write_page(arguments.output, text)


def bert_shapes(layers, width, vocabulary):
    """`{path: shape}` of KerasHub's BertBackbone: 199 variables for BERT-Base."""
    backbone = keras_hub.models.BertBackbone(vocabulary, layers, width // 64, width, 4 * width)
    return {v.path: tuple(v.shape) for v in backbone.trainable_variables}


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

    @functools.cache
    def variables_in(strategy):  # the same for all forms, to save memory
        with strategy.scope():
            return keras_variables({k: g.shape for k, g in gradients.items()})

    def form(optimizer_of, strategy=mirrored, jit_compile=None):
        variables = variables_in(strategy)
        with strategy.scope():
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
        STOCK_ADAMW: lambda: keras.optimizers.AdamW(1e-3),
        OUR_ADAMW: lambda: tfbert.AdamW(1e-3),
        "tfbert.AdamW(max_grad_norm=1.0)": lambda: tfbert.AdamW(1e-3, max_grad_norm=1.0),
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


def torch_form(python, shapes):
    """torch.optim.AdamW in its fused form.

    Raises:
        BrokenPipeError: this Python has no torch.
    """
    worker = subprocess.Popen(
        [python, Path(__file__).with_name("optimizers_torch.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(request):
        print(json.dumps(request), file=worker.stdin, flush=True)
        answer = worker.stdout.readline()
        if not answer:
            raise BrokenPipeError("the process of torch has ended: its lines above say why")
        return json.loads(answer)

    ask([list(shape) for shape in shapes.values()])
    return ask


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


def report(parameters, copies, first, times, missing, slots):
    """The page, as Markdown."""
    medians = {name: statistics.median(t) for name, t in times.items()}
    rounds = len(times[f"{STOCK}, MirroredStrategy"])
    limit = parameters * BYTES_PER_PARAMETER / max(copies)
    rows = [
        [name, f"{1e3 * median:.0f}", f"{median / limit:.2f}", f"{first[name]:.1f}"]
        for name, median in medians.items()
    ]
    goals = []
    for ours, stock in ((OUR_ADAMW, STOCK_ADAMW), (OURS, STOCK)):
        own, other = (medians[f"{name}, MirroredStrategy"] for name in (ours, stock))
        goals.append(
            f"- `{ours}`: {own / other:.2f} of the time of `{stock}`, {own / limit:.2f} times the "
            f"limit; at most {GOALS[ours]} asked: {reached(own / limit <= GOALS[ours])}."
        )
    left_out = f"\nLeft out, because not installed: {', '.join(missing)}.\n" if missing else ""
    return f"""# One update of {parameters / 1e6:.1f} M parameters on a CPU

Written by `python scripts/benchmarks/optimizers.py`: medians of {rounds} rounds in which all forms
take turns. {hardware()}, {versions("TensorFlow", "Keras")}.

The memory limit is {BYTES_PER_PARAMETER} bytes a parameter at the bandwidth of a copy with all
cores, the fastest of {len(copies)} processes just before: {max(copies) / 1e9:.1f} GB/s, the slowest
{min(copies) / 1e9:.1f}; so {1e3 * limit:.0f} ms. That is 7 numbers a parameter: gradient,
weight and two slots read, the last three written. A copy may also read what it overwrites, which
an update in place does not: a form can be below 1. AdamW moves 2 numbers more, a product with the
weights that decay; LAMB 7 more, that product, two norms, and a subtraction;
clipping 3 more, a norm and a product with the gradient.

{chr(10).join(table(["form", "ms", "of the limit", "first call, s"], rows))}

{chr(10).join(goals)}
{left_out}
LAMB's state is {slots[0]:.4f} float32 values a parameter, {slots[1]:.4f} with a moving average:
two slots, or three, and one scalar more for each variable.
"""


if __name__ == "__main__":
    main()
