"""Bytes a second, read and written, of a float32 copy with all cores: the best of 10, as JSON.

    python scripts/benchmarks/copy_bandwidth.py ELEMENTS

A process of its own for `optimizers.py`: on one machine a few processes had 77 GB/s and most 44,
so that the fastest of several counts.
"""

import concurrent.futures
import json
import os
import sys
import time

import numpy as np


def main(elements):
    source, target = np.ones(elements, "float32"), np.ones(elements, "float32")
    cores = os.cpu_count()
    parts = [slice(k * elements // cores, (k + 1) * elements // cores) for k in range(cores)]
    best = float("inf")
    with concurrent.futures.ThreadPoolExecutor(cores) as pool:
        for _ in range(10):
            start = time.perf_counter()
            list(pool.map(lambda part: np.copyto(target[part], source[part]), parts))
            best = min(best, time.perf_counter() - start)
    print(json.dumps(2 * source.nbytes / best))


if __name__ == "__main__":
    main(int(sys.argv[1]))
