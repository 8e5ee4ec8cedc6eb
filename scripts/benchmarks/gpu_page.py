"""The page of gpu.py: what was measured, in tables."""

from shared.page import reached, table

from tfbert.models.sizes import SIZES
from tfbert.planning.devices import GPUS
from tfbert.recipes.flops import training_flops

VOCABULARY = 30_522
PREDICTIONS = {128: 20, 512: 80}
UTILISATION, FINE_TUNING, UPDATE = 0.5, 2.0, 1.5
BYTES_PER_PARAMETER = 28  # read the gradient, the weight and two slots, write the last three
PUBLISHED = {("large", 128): 580, ("large", 512): 210}  # NVIDIA, A100: for orientation
FORMS = {
    "tfbert": "tfbert on JAX, LAMB",
    "tfbert-attention0": "the same, no dropout on attention",
    "torch": "torch, torch.compile, SDPA, fused AdamW",
    "stock": "stock Keras on JAX, keras.optimizers.Lamb",
}


def page(machine, found, missing):
    """The page, as Markdown.

    Args:
        machine: What gpu_jax.py says of it.
        found: `{name: numbers}` of the cases.
        missing: `{name: why}` of those that were not measured.
    """
    peak = datasheet_peak(machine["device"])
    versions = dict(machine["versions"])
    for numbers in found.values():
        versions |= numbers.get("versions", {})
    tried = machine["platform"] != "gpu"
    lines = [
        "# Benchmark: BERT on a GPU",
        "",
        *(["**Tiny models on a CPU, to try the script: these numbers say nothing.**", ""] * tried),
        "Written by `python scripts/benchmarks/gpu.py`; medians of three, extremes in brackets.",
        f"{machine['device']}; " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".",
        f"Measured on it: {machine['matmul'] / 1e12:.0f} TFLOP/s in a large bfloat16 product"
        f"{f', of {peak / 1e12:.0f} by its data sheet' if peak else ''}, and "
        f"{machine['bandwidth'] / 1e9:.0f} GB/s in a copy.",
        "",
        *pretraining(found, peak or machine["matmul"]),
        *attention(found),
        *finetuning(found),
        *update(found, machine["bandwidth"]),
    ]
    if missing:
        lines += ["## Not measured", "", *(f"- {name}: {why}" for name, why in missing.items()), ""]
    return "\n".join(lines)


def datasheet_peak(device):
    """Dense bfloat16 operations a second of a device by JAX' name for it; None if not known."""
    words = device.replace("-", " ").split()
    for name, gpu in GPUS.items():
        if name.partition("-")[0] in words:
            return gpu.peaks.get("bfloat16")
    return None


def pretraining(found, peak):
    """The table of the pre-training steps."""
    rows, shares = [], []
    for name, numbers in found.items():
        form, *shape = name.split()
        if form not in FORMS or len(shape) != 2:
            continue
        size, length = shape[0], int(shape[1])
        batch = numbers["batch"]
        flops = training_flops(
            SIZES[size], VOCABULARY, length, PREDICTIONS[length], form != "stock"
        ).total
        speed = batch / numbers["seconds"]
        share = speed * flops / peak
        if form == "tfbert":
            shares.append(share)
        published = PUBLISHED.get((size, length), "")
        kernel = numbers.get("attention", "")
        rows.append(
            [
                size,
                length,
                f"{FORMS[form]}{f' ({kernel})' if kernel else ''}",
                batch,
                f"{speed:.0f} ({batch / numbers['most']:.0f} to {batch / numbers['least']:.0f})",
                f"{100 * share:.0f} %",
                gib(numbers),
                f"{numbers['first']:.0f}",
                published,
            ]
        )
    rows.sort(key=lambda row: (row[0], row[1]))
    heads = ["BERT", "length", "form", "sequences a step", "sequences/s", "of the peak"]
    heads += ["memory, GiB", "first call, s", "an A100, NVIDIA"]
    lines = [
        "## A pre-training step",
        "",
        "bfloat16, dropout 0.1, 20 predictions at length 128 and 80 at 512, no padding. Operations "
        "are those of the model's products (`tfbert.recipes.flops`). torch is transformers' "
        "`BertForPreTraining`, stock KerasHub's `BertMaskedLM`, without a next-sentence head. In "
        "brackets: which form of attention ran.",
        "",
        *table(heads, rows),
        "",
    ]
    if shares:
        goal = reached(min(shares) >= UTILISATION)
        lines += [f"Goal, tfbert at {100 * UTILISATION:.0f} % of the peak in each: {goal}.", ""]
    return lines


def attention(found):
    """The two forms of a layer's attention."""
    if "attention" not in found:
        return []
    rows = [
        [shape, *(f"{1e3 * times[form]:.3f}" for form in ("plain", "fused"))]
        for shape, times in found["attention"]["layers"].items()
    ]
    return [
        "## Attention alone",
        "",
        "A layer's attention, forward and backward, without dropout, as `--attention auto` "
        "measures it.",
        "",
        *table(["rows x tokens x heads x width of a head", "plain, ms", "fused, ms"], rows),
        "",
    ]


def finetuning(found):
    """The table of fine-tuning on SST-2."""
    names = {"tfbert sst2": "tfbert on JAX, batches by length", "torch sst2": "torch"}
    measured = {name: found[name] for name in names if name in found}
    if not measured:
        return []
    speeds = {name: numbers["rows"] / numbers["seconds"] for name, numbers in measured.items()}
    rows = [
        [
            names[name],
            f"{speeds[name]:.0f}",
            f"{100 * numbers['padding']:.0f} %",
            f"{numbers['first']:.0f}",
        ]
        for name, numbers in measured.items()
    ]
    lines = [
        "## Fine-tuning SST-2",
        "",
        "BERT-Base with random weights, batches of 32, bfloat16, AdamW, texts as long as those of "
        "the set: speed alone. torch shuffles texts and pads a batch to its longest one. The first "
        "call holds the compilation.",
        "",
        *table(["form", "examples/s", "padding", "first call, s"], rows),
        "",
    ]
    if len(speeds) == 2:
        times = speeds["tfbert sst2"] / speeds["torch sst2"]
        goal = reached(times >= FINE_TUNING)
        lines += [f"tfbert is {times:.2f} times as fast; goal {FINE_TUNING:g}: {goal}.", ""]
    return lines


def update(found, bandwidth):
    """LAMB's update against the memory."""
    if "lamb" not in found:
        return []
    numbers = found["lamb"]
    least = BYTES_PER_PARAMETER * numbers["parameters"] / bandwidth
    times = numbers["seconds"] / least
    return [
        "## LAMB's update of BERT-Large",
        "",
        f"{numbers['parameters'] / 1e6:.0f} million parameters, float32: "
        f"{1e3 * numbers['seconds']:.2f} ms. Reading gradient, weight and two slots and writing "
        f"the last three takes {1e3 * least:.2f} ms at the speed of the copy: {times:.2f} times "
        f"that; goal {UPDATE:g}: {reached(times <= UPDATE)}.",
        "",
    ]


def gib(numbers):
    """The most memory of the process."""
    return f"{numbers['memory'] / 2**30:.1f}" if numbers.get("memory") else ""
