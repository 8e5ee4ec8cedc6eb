"""Makes the weights of a saved BERT smaller: fewer bits of each number, and HDF5's own compression.

    python scripts/pack_weights.py FOLDER [--bits 4] [--dropout 0.1]

FOLDER is the `model/` of a pre-training run; it is changed in place and stays a preset that any
KerasHub opens. A number keeps so many bits after its first one: with 4, an error of at most 3 %.
Biases and layer normalisation stay as they are. `--dropout` writes that rate into the preset: what
the next training has, where this one had none.
"""

import argparse
import json
import sys
from pathlib import Path

import h5py
import numpy as np

from tfbert.errors import InputError
from tfbert.io.whole import read_json, replacing
from tfbert.models.pretrainer import HEADS_FILE
from tfbert.options import require

_MANTISSA = 23  # bits of a float32


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a KerasHub preset")
    parser.add_argument("--bits", type=int, choices=range(2, 23), default=4, metavar="BITS")
    parser.add_argument("--dropout", type=float, help="if not the preset's own")
    options = parser.parse_args()
    weights = options.folder / "model.weights.h5"
    if not weights.exists():
        parser.error(f"{weights}: no such file: name the model/ of a run")
    before = weights.stat().st_size
    try:
        pack(options.folder, options.bits, options.dropout)
    except (InputError, OSError, ValueError) as error:  # of damaged files
        parser.error(f"{options.folder}: {error}")
    print(f"{weights}: {before:,} to {weights.stat().st_size:,} bytes", file=sys.stderr)


def pack(folder, bits, dropout):
    if dropout is not None:
        require(0 <= dropout < 1, "dropout", dropout, "at least 0 and below 1")
        set_dropout(folder / "config.json", dropout)
    weights, heads = folder / "model.weights.h5", folder / HEADS_FILE
    with replacing(weights) as temporary:
        pack_h5(weights, temporary, bits)
    if heads.exists():
        with np.load(heads) as file:
            values = {name: rounded(value, bits) for name, value in file.items()}
        with replacing(heads) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **values)


def pack_h5(source, target, bits):
    """Copies an HDF5 file: its matrices rounded, all of its larger arrays compressed."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        new.attrs.update(old.attrs)

        def copy(name, item):
            if isinstance(item, h5py.Group):
                made = new.require_group(name)
            else:
                value = rounded(item[()], bits)
                # Shuffled, the equal bytes of all numbers stand together, and so do the zeros.
                packing = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
                made = new.create_dataset(name, data=value, **packing if value.ndim > 1 else {})
            made.attrs.update(item.attrs)

        old.visititems(copy)


def rounded(value, bits):
    """float32 to the nearest number with `bits` bits after the first one; vectors as they are."""
    if value.ndim < 2 or value.dtype != np.float32:
        return value
    dropped = np.uint32(_MANTISSA - bits)
    whole = value.view(np.uint32)
    half = np.uint32(1) << (dropped - np.uint32(1))
    return ((whole + half) >> dropped << dropped).view(np.float32)


def set_dropout(path, rate):
    content = read_json(path)
    content["config"]["dropout"] = rate
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=4))


if __name__ == "__main__":
    main()
