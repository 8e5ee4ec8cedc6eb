"""`tfbert.tpu_check.lowering` for Keras on JAX: a phase's step, exported for TPUs.

    python -m tfbert.tpu_check.jax_lowering REQUEST.json FOLDER

writes `module.exported`, JAX' serialized export, and `lowered.json` into the folder. The devices
are abstract ones, as many as the slice has: the program is that of `fit` on them, and no TPU's
library is needed.

References:
    https://docs.jax.dev/en/latest/export/export.html
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbert.hardware.input_pipeline import ArrayBatches, specs_of
from tfbert.recipes.phase_model import make_phase_model
from tfbert.records.batches import examples_of
from tfbert.tpu_check.lowering import EXPORTED_FILE, RESULT_FILE, Request

if TYPE_CHECKING:
    from jax.export import Exported


def export(request: Request) -> Exported:
    """The training step on all cores of a slice, lowered for TPUs."""
    from tfbert.tpu_check.abstract_devices import AbstractDevices

    devices = AbstractDevices(request.cores)
    with devices.scope():
        model = make_phase_model(
            request.recipe,
            request.phase,
            request.vocabulary_size,
            request.next_sentence,
            request.accumulate_steps,
        )
    batch = zeros(request)
    model._prepare(ArrayBatches(lambda number: batch, 0, 1, specs_of(batch)))
    return devices.export(model.make_train_function(), batch)


def unused_bytes(exported: Exported) -> int:
    """Bytes on a core of the arguments that the program does not use."""
    used = set(exported.module_kept_var_idx)
    return sum(
        aval.size * aval.dtype.itemsize
        for number, aval in enumerate(exported.in_avals)
        if number not in used
    )


def zeros(request: Request) -> Any:
    """A global batch of the right shapes."""
    phase = request.recipe.scaled_phases()[request.phase]
    rows = request.rows * request.cores
    tokens, masks = (rows, phase.sequence_length), (rows, request.predictions)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(
        ("token_ids", "segment_ids", "padding_mask"), tokens
    )
    shapes |= dict.fromkeys(("mask_positions", "mask_ids"), masks)
    if request.next_sentence:
        shapes["next_sentence_labels"] = (rows,)
    # One zero, seen as so many: a batch of a whole slice would be large.
    records = {name: np.broadcast_to(np.int32(0), shape) for name, shape in shapes.items()}
    records["mask_weights"] = np.broadcast_to(np.float32(0), masks)
    return examples_of(records)


def main(request_path: str | Path, folder: str | Path) -> None:
    """Exports what a file asks for."""
    request = Request(**json.loads(Path(request_path).read_text(encoding="utf-8")))
    exported = export(request)
    Path(folder, EXPORTED_FILE).write_bytes(exported.serialize())
    result = {"unused_bytes": unused_bytes(exported)}
    Path(folder, RESULT_FILE).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
