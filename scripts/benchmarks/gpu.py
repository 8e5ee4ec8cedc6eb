"""BERT on a GPU: tfbert on JAX beside stock Keras and torch; writes docs/benchmark_gpu.md.

    python scripts/benchmarks/gpu.py [--output FILE] [--results FOLDER] [--minutes N] [--tiny]

Pre-training steps of BERT-Base and BERT-Large in bfloat16, fine-tuning at the lengths of SST-2, and
LAMB's update. Needs JAX with CUDA, torch, transformers, Keras and KerasHub, and no network:
`gpu_wheels.sh` beside it fetches beforehand what a machine lacks. Each form has a process of its
own, the most important first; what does not fit into the minutes is named in the page, and measured
by a second call with the same results folder, which keeps what is there.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from gpu_page import page
from shared.cells import Cells
from shared.page import DOCS, REPOSITORY, fail, require, write_page

HERE = Path(__file__).resolve().parent
LEAST_SECONDS = 40  # with less left no further form is begun: its start alone takes half of it
SHAPES = {128: 20, 512: 80}  # tokens: predictions
# Sequences that a device computes at once.
ROWS = {("base", 128): 256, ("base", 512): 64, ("large", 128): 128, ("large", 512): 32}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="the page; by default docs/benchmark_gpu.md")
    parser.add_argument("--results", type=Path, default=REPOSITORY / "runs" / "benchmark_gpu")
    parser.add_argument("--minutes", type=float, default=9.5, help="after which nothing begins")
    parser.add_argument("--tiny", action="store_true", help="tiny models on a CPU, to try it")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    require("jax", "keras_hub", "torch", "transformers")
    if arguments.tiny:
        os.environ |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
        arguments.output = arguments.output or REPOSITORY / "runs" / "benchmark_gpu_tiny.md"
        arguments.results /= "tiny"
    cells, missing = Cells(arguments.results), {}
    # Through `answer`, so that this process never holds the device's memory.
    machine = answer("gpu_jax.py", {"what": "machine", "tiny": arguments.tiny}, end)
    if "failed" in machine or (machine["platform"] != "gpu" and not arguments.tiny):
        fail(machine.get("failed") or "JAX finds no GPU; --tiny tries the script on a CPU")
    found = {}
    for name, (script, request) in cases().items():
        if arguments.tiny and not {"large", "512"}.isdisjoint(name.split()):
            continue  # all would have the same shapes
        left = end - time.monotonic()
        if not cells.has(name) and left < LEAST_SECONDS:
            missing[name] = "no time was left"
            continue
        request = {**request, "tiny": arguments.tiny}
        if not cells.has(name):
            result = answer(script, request, end)
            if "failed" in result:
                missing[name] = result["failed"]
                print(f"{name}: {result['failed']}", flush=True)
                continue
            cells.measure(name, lambda result=result: result)
        found[name] = cells.measure(name, dict)
        print(name, json.dumps(found[name]), flush=True)
    write_page(arguments.output or DOCS / "benchmark_gpu.md", page(machine, found, missing))


def cases():
    """`{name: (script, what it is asked)}`, the most important first."""
    made = {"attention": ("gpu_jax.py", {"what": "attention", "shapes": attention_shapes()})}

    def pretraining(script, form, size, length):
        request = {"what": "pretraining", "form": form, "size": size, "length": length}
        request |= {"predictions": SHAPES[length], "rows": ROWS[size, length]}
        made[f"{form} {size} {length}"] = (script, request)

    for size, length in ROWS:
        pretraining("gpu_jax.py", "tfbert", size, length)
        pretraining("gpu_torch.py", "torch", size, length)
    made["lamb"] = ("gpu_jax.py", {"what": "lamb", "size": "large"})
    for script, form in (("gpu_jax.py", "tfbert"), ("gpu_torch.py", "torch")):
        made[f"{form} sst2"] = (script, {"what": "finetuning", "form": form, "size": "base"})
    for length in (512, 128):
        pretraining("gpu_jax.py", "tfbert-attention0", "base", length)
    for size, length in ROWS:
        pretraining("gpu_jax.py", "stock", size, length)
    for length in (512, 128):
        pretraining("gpu_jax.py", "tfbert-attention0", "large", length)
    return made


def attention_shapes():
    """(rows, tokens, heads, head_dim) of a layer's attention."""
    return [
        (rows, length, 12 if size == "base" else 16, 64) for (size, length), rows in ROWS.items()
    ]


def answer(script, request, end):
    """What a script prints, JSON in its last line; `{"failed": why}` where it fails."""
    command = [sys.executable, str(HERE / script), json.dumps(request)]
    began = time.monotonic()
    path = os.pathsep.join([str(REPOSITORY), *python_path()])
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": path}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            timeout=max(end - began, 1),
        )
    except subprocess.TimeoutExpired:
        return {"failed": "the time was over before it was measured"}
    with contextlib.suppress(ValueError, IndexError):
        return {**json.loads(done.stdout.splitlines()[-1]), "whole": time.monotonic() - began}
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return {"failed": (lines or [f"status {done.returncode}"])[-1][:300]}


def python_path():
    """Folders that PYTHONPATH names already, such as that of carried packages."""
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


if __name__ == "__main__":
    main()
