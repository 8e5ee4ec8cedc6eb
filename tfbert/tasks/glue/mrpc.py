"""MRPC in its original files: which pairs of the training file GLUE evaluates on.

GLUE's own `train.tsv` and `dev.tsv` are made of `msr_paraphrase_train.txt` by a list of pairs of
ids, `dev_ids.tsv` (also called `mrpc_dev_ids.tsv`), which comes with the benchmark.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines
from tfbert.tasks.formats.tables import Layout, open_table

_log = logging.getLogger("tfbert")

_ID_COLUMNS = ("#1 ID", "#2 ID")


def listed_pairs(path: str | Path, listed: str | Path, layout: Layout) -> np.ndarray:
    """Which rows of a file of pairs are in a list of ids.

    Args:
        path: The file, with columns `#1 ID` and `#2 ID`.
        listed: The list, two ids and a tab between them a line.

    Returns:
        (rows,) bool.

    Raises:
        InputError: If the list is not in that form, or none of its pairs is in the file.
    """
    ids = set()
    for number, line in read_lines(listed):
        if line.strip():
            cells = tuple(line.split())
            if len(cells) != 2:
                raise InputError(f"{listed}, line {number}: two ids must stand there")
            ids.add(cells)
    table = open_table(path, layout, _ID_COLUMNS)
    rows = [tuple(cells[column].strip() for column in table.columns) for _, cells in table.rows]
    found = np.array([row in ids for row in rows])
    if not found.any():
        raise InputError(f"{listed}: none of its {len(ids)} pairs of ids is in {path}")
    if found.sum() < len(ids):
        _log.info("%s: %d of its pairs are not in %s", listed, len(ids) - found.sum(), path)
    return found
