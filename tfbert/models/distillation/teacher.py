"""The model that a student learns from: it is read, and never trained or saved."""

from __future__ import annotations

import dataclasses
import logging
import zlib

import numpy as np
from keras import ops

from tfbert.errors import InputError
from tfbert.models.encoder import BertEncoder
from tfbert.models.sizes import BertSize
from tfbert.models.sources import load_encoder
from tfbert.text.tokenizer import BertTokenizer
from tfbert.types import Tensor

log = logging.getLogger("tfbert")

_SHOWN = 5  # of the word pieces that a teacher lacks


@dataclasses.dataclass(frozen=True)
class Teacher:
    """An encoder, and what a student's token ids are in its vocabulary.

    Args:
        backbone: Without dropout.
        ids: (word pieces of the student,) int32; None where the two vocabularies are the same.
    """

    backbone: BertEncoder
    ids: np.ndarray | None = None

    def hidden_states(self, token_ids: Tensor, segment_ids: Tensor, padding_mask: Tensor) -> Tensor:
        """The last layer's hidden states, (batch, length, width) float32; no gradient goes here.

        Args:
            token_ids: (batch, length) int32 of the student's vocabulary, without masks.
            segment_ids, padding_mask: (batch, length) int32, as in `BertEncoder`.
        """
        if self.ids is not None:
            token_ids = ops.take(ops.convert_to_tensor(self.ids), token_ids, axis=0)
        inputs = {"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": padding_mask}
        states = self.backbone(inputs, training=False)["sequence_output"]
        return ops.stop_gradient(ops.cast(states, "float32"))

    @property
    def size(self) -> BertSize:
        encoder = self.backbone
        return BertSize(
            encoder.num_layers, encoder.hidden_dim, encoder.num_heads, encoder.intermediate_dim
        )

    def checksum(self) -> int:
        """A CRC-32 of all weights that are used.

        The pooler is not, and where a model has none, it is a new one in each process.
        """
        unused = {id(variable) for variable in self.backbone.pooled_dense.weights}
        used = [v for v in self.backbone.weights if id(v) not in unused]
        total = 0
        for variable in sorted(used, key=lambda v: v.path):
            array = np.ascontiguousarray(ops.convert_to_numpy(variable))
            total = zlib.crc32(array.view(np.uint8).data, total)
        return total


def load_teacher(source: str, dtype: str, student: BertTokenizer, longest: int) -> Teacher:
    """The teacher for a student.

    Args:
        source: A MODEL argument, see `resolve_source`.
        dtype: Keras dtype policy of its encoder.
        student: The student's tokenizer.
        longest: Tokens of the longest sequences.

    Raises:
        InputError: If there is no such model, it lacks one of the student's word pieces, or it
            ends before the longest sequence.
    """
    loaded = load_encoder(source, dtype, dropout=0.0)
    backbone, known = loaded.backbone, loaded.tokenizer.vocabulary.ids
    pieces = student.vocabulary.pieces
    missing = [piece for piece in pieces if piece not in known]
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise InputError(
            f"--teacher {source}: its vocabulary lacks {len(missing):,} of the {len(pieces):,} "
            f"word pieces of the student: {shown}; prepare the text with the teacher's vocabulary, "
            "or with a part of it"
        )
    if longest > backbone.max_sequence_length:
        raise InputError(
            f"--teacher {source}: ends at {backbone.max_sequence_length} tokens, and a phase has "
            f"{longest}"
        )
    if student.lowercase and not loaded.tokenizer.lowercase:
        log.warning("--teacher %s: knows capital letters, and the student none", source)
    log.info("teacher: %s, %d layers, %d wide", source, backbone.num_layers, backbone.hidden_dim)
    ids = np.array([known[piece] for piece in pieces], np.int32)
    is_same = np.array_equal(ids, np.arange(len(ids)))
    return Teacher(backbone, None if is_same else ids)
