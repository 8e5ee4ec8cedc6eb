"""Writes docs/tpu_check.md, or docs/tpu_check_jax.md: what `tfbert tpu-check` says of some recipes.

    python scripts/benchmarks/tpu_check.py [--no-largest] [--backend jax]

Hours on two cores, and some 12 GB of memory; what was compiled before is taken from the cache.
"""

import argparse
import logging
import platform

from shared.page import DOCS, make_parser, write_page

from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.tpu_check.check import tpu_check
from tfbert.tpu_check.check_options import TpuCheckConfig
from tfbert.tpu_check.compiler import JAX
from tfbert.tpu_check.report import markdown_table

# The paper's 1,024 TPUv3 chips; a recipe for a GPU of 40 GB on chips of 16, as it is and mended.
CHECKS = {
    "tensorflow": [
        ("lamb_76min", "v3-2048", {}),
        ("base_one_gpu", "v5litepod-4", {}),
        ("base_one_gpu", "v5litepod-4", {"device_tokens": 16_384}),
    ],
    "jax": [("base_one_gpu", "v5litepod-4", {"device_tokens": 16_384})],
}
PAGES = {"tensorflow": "tpu_check.md", "jax": "tpu_check_jax.md"}

HEADER = """# What compiles for a TPU, and fits

Written by `python scripts/benchmarks/tpu_check.py --backend {backend}`: the steps of that backend,
compiled by the TPU's own compiler ({jax}) on a machine without one ({machine}). **Nothing of this
was run on a TPU**, and no speed follows from it.

Each table is one `tfbert tpu-check --recipe NAME --accelerator TYPE`, with the option that stands
beside the name: [cloud_tpu.md](cloud_tpu.md) says what it does. *A core* is the core's share of a
batch, in sequences; *parts* the micro-batches in which it computes them; *largest at once* the
most sequences that were compiled and fit, and *parts then* what the recipe needs with them. FLOPs
are the model's matrix products.
"""


def main():
    """Runs all checks and writes the report."""
    parser = make_parser(__doc__)
    parser.add_argument("--largest", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--backend", choices=["tensorflow", "jax"], default="tensorflow")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    machine = f"{platform.system()}, {platform.machine()}"
    lines = [HEADER.format(jax=JAX, machine=machine, backend=arguments.backend)]
    for recipe, accelerator, changes in CHECKS[arguments.backend]:
        config = TpuCheckConfig(
            PretrainConfig.from_recipe(recipe, data="", output="", **changes),
            accelerator,
            largest=arguments.largest,
            backend=arguments.backend,
        )
        options = [f" --{name.replace('_', '-')} {value}" for name, value in changes.items()]
        lines += [*markdown_table(recipe + "".join(options), tpu_check(config)), ""]
        write_page(DOCS / PAGES[arguments.backend], "\n".join(lines))  # what is done so far


if __name__ == "__main__":
    main()
