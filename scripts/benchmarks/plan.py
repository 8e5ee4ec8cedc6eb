"""How far `tfbert plan` can be trusted; writes docs/plan.md.

    python scripts/benchmarks/plan.py [--output FILE]

Times against published runs, of which half were fitted; memory against what the TPU's compiler
counted (docs/tpu_check.md) and against the peaks of processes that train here, a minute each.
"""

import argparse
import json
import os
import re
import statistics

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from shared.machine import answer_of, cores, peak_bytes
from shared.page import DOCS, make_parser, reached, table, write_page

from tfbert.hardware.tpu_slices import GIB
from tfbert.models.sizes import SIZES
from tfbert.planning.memory import device_memory
from tfbert.planning.plan import plan
from tfbert.planning.plan_options import PlanConfig
from tfbert.planning.published_runs import RUNS
from tfbert.planning.utilisation import predicted_seconds, utilisation_of
from tfbert.recipes.cost import CostModel
from tfbert.recipes.pretrain_options import PretrainConfig

VOCABULARY_SIZE = 30_522
MEDIAN, WORST = 0.10, 0.25
# Of BERT-Small: sequences at once and their length.
MEASURED = [(16, 128), (48, 128), (4, 512), (12, 512)]


def main():
    parser = make_parser(__doc__, "plan.md")
    parser.add_argument("--peak-of", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        print(json.dumps(training_peak(*arguments.peak_of)))
        return
    peaks = {shape: answer_of(__file__, "--peak-of", *shape) for shape in MEASURED}
    write_page(arguments.output, report(peaks))


def training_peak(batch, length):
    """Bytes of this process's peak in two updates of BERT-Small, float32, with LAMB."""
    import keras
    import tensorflow as tf

    import tfbert
    from tfbert.models.pretrainer import make_pretrainer
    from tfbert.records.masking import default_predictions

    keras.utils.set_random_seed(0)
    model = make_pretrainer(SIZES["small"], VOCABULARY_SIZE, dtype="float32")
    model.compile(tfbert.LAMB(1e-4), loss=model.pretraining_losses())
    random = np.random.default_rng(0)
    places = (batch, default_predictions(length))
    ids = random.integers(5, VOCABULARY_SIZE, (batch, length), dtype=np.int32)
    inputs = {
        "token_ids": ids,
        "segment_ids": 0 * ids,
        "padding_mask": 0 * ids + 1,
        "mask_positions": np.arange(places[1], dtype=np.int32) + np.zeros(places, np.int32),
    }
    targets = {"mlm": ids[:, : places[1]], "nsp": np.zeros(batch, np.int32)}
    weights = {"mlm": np.ones(places, np.float32), "nsp": np.ones(batch, np.float32)}
    data = tf.data.Dataset.from_tensors((inputs, targets, weights)).repeat(2)
    model.fit(data, verbose=0)
    return peak_bytes()


def report(peaks):
    """The page, as Markdown."""
    times, verdict = time_table()
    return f"""# What a pre-training would take: `tfbert plan`

```bash
tfbert plan --recipe lamb_76min --hardware v3-2048
tfbert plan --recipe base_one_gpu --hardware 8xA100-80GB --price-per-hour 12.50
```

prints for each phase the operations, the memory of a device, the time and the price, in a second
and without TensorFlow. `--hardware` takes `cpu` (this machine), GPUs with their count, or a TPU
slice by Google Cloud's name; `--recipe` and all options of a recipe are those of `tfbert pretrain`,
and `--json FILE` keeps the numbers. Time is that of the updates: compilation, evaluations and
checkpoints come on top. **No run of this package on a GPU or a TPU is among what follows**: it is
what other programs reached on such hardware.

This page is written by `python scripts/benchmarks/plan.py`.

## Time

    seconds = products / (devices * peak * utilisation) + updates * overhead * log2(devices)

`products` are the operations of the matrix products (`tfbert/recipes/flops.py`); the peak is the
data sheet's. Utilisation and overhead come from published runs
(`tfbert/planning/published_runs.py`): of the LAMB paper's table every second row is fitted, of
NVIDIA's figures those of one device; the others judge the fit. `overhead` is fitted for TPUs alone,
as the fitted runs of the GPUs have one device.

{chr(10).join(utilisation_table())}

{chr(10).join(times)}

{verdict}

Not among them: MLPerf's result on H200 (996 sequences of length 512 a second and device). That
program skips padding, so that counted as here it is above the device's peak. Hardware without
published runs takes the utilisation of a relative (T4 that of V100; A10, L4, H100 and H200 that of
A100; every TPU that of v3), and `plan` says so.

## Memory

The formula is in `tfbert/planning/memory.py`. Against the TPU's own compiler, of
[tpu_check.md](tpu_check.md):

{chr(10).join(compiled_table())}

Against the peak of a process that trains BERT-Small in float32 on {cores()}. What TensorFlow
takes for itself is not in the formula, so that what three times the sequences add is compared:

{chr(10).join(measured_table(peaks))}

On a CPU the attention of long sequences keeps more than on a TPU, where the formula was checked.
"""


def utilisation_table():
    rows = []
    for family in dict.fromkeys(run.family for run in RUNS):
        found = utilisation_of(family)
        shares = ", ".join(f"{share:.1%} ({length})" for length, share in found.shares.items())
        rows.append([family, shares, f"{1e3 * found.overhead:.1f} ms"])
    return table(["runs on", "utilisation (at length)", "overhead, per update and doubling"], rows)


def time_table():
    """The lines of the table, and a sentence about the errors."""
    rows, errors = [], []
    for run in RUNS:
        error = predicted_seconds(run) / run.seconds - 1
        if not run.is_fitted:
            errors.append(abs(error))
        figures = [_figure(run, seconds) for seconds in (run.seconds, predicted_seconds(run))]
        role = "fitted" if run.is_fitted else "**judges**"
        rows.append([run.family, run.name, *figures, f"{error:+.1%}", role])
    median, worst = statistics.median(errors), max(errors)
    verdict = (
        f"Of the {len(errors)} runs that judge, the median error of the time is **{median:.1%}** "
        f"(to reach: {MEDIAN:.0%}; {reached(median <= MEDIAN)}), the largest **{worst:.1%}** (to "
        f"reach: {WORST:.0%}; {reached(worst <= WORST)})."
    )
    heads = ["hardware, software", "BERT-Large", "published", "planned", "error of the time", ""]
    return table(heads, rows), verdict


def _figure(run, seconds):
    """A run that takes so many seconds: its time, or its speed."""
    if run.updates:
        return f"{seconds / 3600:,.2f} h"
    return f"{run.work[0].sequences / seconds:,.0f} a second"


def compiled_table():
    rows = []
    page = (DOCS / "tpu_check.md").read_text("utf-8")
    for title, lines in re.findall(r"\*\*`([^`]+)` on (?s:(.+?))(?=\n\*\*`|\Z)", page):
        accelerator = lines.split("*", 1)[0]
        words = title.split()
        changes = {"device_tokens": int(words[2])} if len(words) > 1 else {}
        recipe = PretrainConfig.from_recipe(words[0], data="", output="", **changes)
        phases = plan(PlanConfig(recipe, accelerator)).phases
        compiled = re.findall(r"\| ([\d.]+) of [\d.]+ \|", lines)
        for number, (phase, gib) in enumerate(zip(phases, map(float, compiled), strict=True), 1):
            ours = phase.memory.total(phase.at_once) / GIB
            shape = f"{phase.at_once} x {phase.phase.sequence_length}"
            row = [f"`{title}`, phase {number}", accelerator, shape, f"{gib:.2f}", f"{ours:.2f}"]
            rows.append([*row, f"{ours / gib - 1:+.0%}"])
    return table(["recipe", "TPU", "at once", "compiled, GiB", "formula, GiB", "error"], rows)


def measured_table(peaks):
    rows = []
    size = SIZES["small"]
    parameters = CostModel(size, VOCABULARY_SIZE, 512).parameters()
    for (batch, length), (more, _) in zip(MEASURED[::2], MEASURED[1::2], strict=True):
        places = round(0.15 * length)
        memory = device_memory(
            size, VOCABULARY_SIZE, parameters, parameters, length, places, "float32", False
        )
        measured = (peaks[more, length] - peaks[batch, length]) / 2**20
        ours = (more - batch) * memory.sequence / 2**20
        row = [f"{batch} to {more} of {length} tokens", f"{measured:,.0f}", f"{ours:,.0f}"]
        rows.append([*row, f"{ours / measured - 1:+.0%}"])
    return table(["sequences at once", "measured, MiB", "formula, MiB", "error"], rows)


if __name__ == "__main__":
    main()
