"""What tests of records share: the length of small records, and ways to read and compare them."""

import numpy as np

from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_source import open_records

LENGTH = 32


def read(path, batch_size=1, vocabulary=None, **options):
    """The reader of a folder or file of records."""
    return PretrainingRecords(open_records(path, vocabulary=vocabulary), batch_size, **options)


def rows(batches, name="token_ids"):
    """All rows of some batches, as bytes."""
    return [bytes(row) for batch in batches for row in batch[name]]


def restore(batch):
    """The token ids of a batch as they were before masking."""
    token_ids = batch["token_ids"].copy()
    places, slots = np.nonzero(batch["mask_weights"])
    token_ids[places, batch["mask_positions"][places, slots]] = batch["mask_ids"][places, slots]
    return token_ids


def assert_same(found, expected):
    """Two batches have the same names, types and values."""
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)
