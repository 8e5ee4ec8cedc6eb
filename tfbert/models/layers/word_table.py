"""Training with those rows of the word table alone that occur: the same training, with less work.

A BERT's table has a row for each of some 30,000 word pieces, half of all weights of a small model.
The texts of a fine-tuning have a part of these pieces. The gradient of all other rows is 0, so that
`AdamW` only multiplies them by a factor that is known beforehand. While it trains, the model
therefore has a table of the rows that occur; at the end `put_back` makes it whole again, the other
rows times that factor, and gives the optimizer the state that it would have had.

With an optimizer that adapts its rate to a whole variable, as `LAMB` does, the other rows count.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import keras
import numpy as np
from keras import ops

from tfbert.fit.keras_internals import replace_weight
from tfbert.optimizers.adamw import AdamW
from tfbert.optimizers.backend import variable_path
from tfbert.optimizers.carrying import carry_over
from tfbert.optimizers.loss_scale import innermost
from tfbert.tasks.tokens.batch_sources import TrainingBatches
from tfbert.tasks.tokens.encoded import EncodedExamples
from tfbert.tasks.tokens.tokenization import TokenizedTexts

if TYPE_CHECKING:
    from tfbert.fit.trainer import DistributedTrainer

Part = TypeVar("Part", TrainingBatches, EncodedExamples)

# Share of the rows up to which a smaller table is worth it.
_LARGEST_SHARE = 0.9


class OccurringWords:
    """A model's word table without the rows of ids that do not occur, until `put_back`.

    The table stays whole where that is no gain: if nearly all ids occur, or it is frozen; and where
    the optimizer is not `AdamW`.

    Args:
        model: A compiled `DistributedTrainer` with a `backbone`, whose word table is used for
            nothing else. Its optimizer has made no update, and its rate is a schedule. Call this,
            and `put_back`, in the `strategy.scope()` in which it was made.
        texts: All that the model is to see until then.
        whole: Whether the table stays as it is in any case.

    Attributes:
        rows: How many the table has now.
    """

    def __init__(
        self, model: DistributedTrainer, texts: Sequence[TokenizedTexts], whole: bool = False
    ) -> None:
        self._model = model
        self._layer = model.backbone.token_embedding
        self._row_of: np.ndarray | None = None
        table = self._layer.embeddings
        ids = _occurring_ids(texts, table.shape[0])
        is_alike = isinstance(innermost(model.optimizer), AdamW) and table.trainable
        if not whole and is_alike and len(ids) <= _LARGEST_SHARE * table.shape[0]:
            self._ids = ids
            self._whole = np.array(ops.convert_to_numpy(table))
            self._row_of = np.full(len(self._whole), -1, np.int32)
            self._row_of[ids] = np.arange(len(ids))
            self._replace(self._whole[ids])
        self.rows = self._layer.embeddings.shape[0]

    def for_model(self, part: Part) -> Part:
        """Examples as the model takes them now: rows of its table stand for ids in batches."""
        return dataclasses.replace(part, texts=dataclasses.replace(part.texts, row_of=self._row_of))

    def put_back(self, updates: int) -> None:
        """Makes the table whole again.

        Args:
            updates: How many made the weights that the model has now, as its optimizer counts them.
        """
        if self._row_of is None:
            return
        optimizer, table = self._model.optimizer, self._layer.embeddings
        factor = innermost(optimizer).left_without_gradient(table, updates)
        whole = self._whole * np.float32(factor)
        whole[self._ids] = ops.convert_to_numpy(table)
        self._replace(whole)
        if optimizer.built:
            self._model.optimizer = self._with_whole_slots(optimizer)
        self._row_of = None
        self.rows = len(whole)

    def _replace(self, rows: np.ndarray) -> None:
        replace_weight(self._layer, "_embeddings", rows)
        # They would go on with the old one.
        model = self._model
        model.train_function = model.test_function = model.predict_function = None

    def _with_whole_slots(self, old: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
        """An optimizer in the state of another one, with moments of 0 for the other rows."""
        new = type(old).from_config(old.get_config())
        new.build(self._model.trainable_variables)
        carry_over(old, new)
        path = variable_path(self._layer.embeddings)
        slots, of_rows = (dict(innermost(each).all_slots())[path] for each in (new, old))
        for name, slot in slots.items():
            value = np.array(ops.convert_to_numpy(of_rows[name]))
            if value.ndim == 2:
                rows, value = value, np.zeros(slot.shape, value.dtype)
                value[self._ids] = rows
            slot.assign(value)
        return new


def _occurring_ids(texts: Sequence[TokenizedTexts], vocabulary_size: int) -> np.ndarray:
    """The ids in some texts and their padding, each once, in rising order: (n,) int64."""
    occurs = np.zeros(vocabulary_size, bool)
    for each in texts:
        occurs[each.values] = True
        occurs[each.pad_token_id] = True
    return np.flatnonzero(occurs)
