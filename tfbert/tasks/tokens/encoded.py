"""Examples as rows of tokens, and the targets that a batch of rows has."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias

import numpy as np

from tfbert.tasks.tokens.tokenization import TokenizedTexts

Spec: TypeAlias = tuple[tuple[int | None, ...], str]  # shape, dtype


@dataclasses.dataclass(frozen=True)
class RowTargets:
    """One target a row.

    Args:
        values: (rows, ...), of any dtype.
        weights: (rows,) float32, the weight of each in the loss.
    """

    values: np.ndarray
    weights: np.ndarray

    def batch(self, positions: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets and weights of the rows at `positions`: (batch, ...) and (batch,)."""
        return self.values[positions], self.weights[positions]

    def specs(self, rows: int | None, length: int | None) -> tuple[Spec, Spec]:
        """Shapes and dtypes of what `batch` returns, for so many rows."""
        values = ((rows, *self.values.shape[1:]), str(self.values.dtype))
        return values, ((rows,), "float32")

    def arrays(self) -> tuple[np.ndarray, ...]:
        """What tells these targets from others."""
        return self.values, self.weights


@dataclasses.dataclass(frozen=True)
class TokenTargets:
    """One target a token.

    Args:
        values: (tokens,) int32, of all rows end to end, as in `TokenizedTexts.values`.
        weights: (tokens,) float32; 0 for a token without a target.
        starts: (rows + 1,) int64, where each row begins.
    """

    values: np.ndarray
    weights: np.ndarray
    starts: np.ndarray

    def batch(self, positions: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets and weights, each (batch, length); 0 at padding."""
        values = np.zeros((len(positions), length), self.values.dtype)
        weights = np.zeros((len(positions), length), np.float32)
        for row, position in enumerate(positions):
            begin, end = self.starts[position], self.starts[position + 1]
            values[row, : end - begin] = self.values[begin:end]
            weights[row, : end - begin] = self.weights[begin:end]
        return values, weights

    def specs(self, rows: int | None, length: int | None) -> tuple[Spec, Spec]:
        """Shapes and dtypes of what `batch` returns, for so many rows."""
        return ((rows, length), str(self.values.dtype)), ((rows, length), "float32")

    def arrays(self) -> tuple[np.ndarray, ...]:
        """What tells these targets from others."""
        return self.values, self.weights


@dataclasses.dataclass(frozen=True)
class EncodedExamples:
    """What a model is given of some examples.

    Args:
        texts: Rows of tokens.
        targets: None for examples without labels.
        example_of: (rows,) int64, the example that each row is of; None where row i is example i.
        details: What the problem needs to make answers of the model's outputs.
        cut: What was cut off the texts, in words for the log; None if nothing was.
    """

    texts: TokenizedTexts
    targets: RowTargets | TokenTargets | None = None
    example_of: np.ndarray | None = None
    details: Any = None
    cut: str | None = None
