"""What tests of records share: the length of small records, and ways to compare batches."""

import numpy as np

LENGTH = 32


def rows(batches, name="token_ids"):
    """All rows of some batches, as bytes."""
    return [bytes(row) for batch in batches for row in batch[name]]


def restore(batch):
    """The token ids of a batch as they were before masking."""
    token_ids = batch["token_ids"].copy()
    places, slots = np.nonzero(batch["mask_weights"])
    token_ids[places, batch["mask_positions"][places, slots]] = batch["mask_ids"][places, slots]
    return token_ids
