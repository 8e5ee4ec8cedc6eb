"""How memory grows with the batch, and the largest batch that fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tfbert.tpu_check.compiler import Program

_MOST_TRIES = 3


class Search:
    """The largest number of sequences that a core can compute at once.

    Two compilations determine a line of memory by batch, and a third one verifies what the line
    says. If a core's share of the batch fits as a whole, it could be larger on fewer chips: the
    sizes to try are then the multiples of 8 above it. A share that does not fit is divided into
    equal micro-batches: the sizes to try are its divisors.

    Args:
        share: Sequences of each batch that a core has.
        memory: Bytes that a program may need.
        compiled: The program of so many sequences at once, in so many micro-batches.
        program: The one to begin with; `fits` is not None.
    """

    def __init__(
        self,
        share: int,
        memory: float,
        compiled: Callable[[int, int], Program],
        program: Program,
    ) -> None:
        self.share = share
        self.memory = memory
        self.compiled = compiled
        self.programs = [program]
        self.line: Line | None = None
        self.largest: int | None = None

    def look(self) -> None:
        """Sets `largest`, and `line` where there are two points of the same kind."""
        first = self.programs[0]
        while not first.fits and first.batch_size > 1:
            first = self._try(max(d for d in divisors(self.share) if d <= first.batch_size // 2))
            if first.fits is None:
                return
        self.largest = first.batch_size if first.fits else 0
        if not first.fits:
            return
        whole = first.accumulate_steps == 1
        second = self._second(first, whole)
        if second is None or not second.used:
            return
        self.line = fit_line((first.batch_size, first.used), (second.batch_size, second.used))
        largest = max(first.batch_size, second.batch_size if second.fits else 0)
        self.largest = self._verify(self.line, largest, whole)

    def _second(self, first: Program, whole: bool) -> Program | None:
        if whole:
            return self._try(first.batch_size // 2 or 2, 1)
        smaller = [d for d in divisors(self.share) if d < first.batch_size]
        larger = [d for d in divisors(self.share) if first.batch_size < d < self.share]
        others = smaller[-1:] or larger[:1]
        return self._try(others[0]) if others else None

    def _verify(self, line: Line, largest: int, whole: bool) -> int:
        """Compiles the largest size that the line promises, and smaller ones while none fits.

        Returns:
            The largest size that fits: `largest`, which is known to, or one of these.
        """
        limit = line.room(self.memory)
        for _ in range(_MOST_TRIES):
            if whole:
                size = round_size(limit)
            else:
                size = max(d for d in divisors(self.share) if d <= max(limit, 1))
            if size <= largest:
                return largest
            if self._try(size, 1 if whole else None).fits:
                return size
            limit = int(size * 0.95)
        return largest

    def _try(self, size: int, accumulate_steps: int | None = None) -> Program:
        """The `Program` of a size; by default as many micro-batches as the share has of it."""
        program = self.compiled(size, accumulate_steps or self.share // size)
        self.programs.append(program)
        return program


class Line(NamedTuple):
    """Memory of a core as a function of the sequences that it computes at once.

    Args:
        fixed: Bytes without any.
        each: Bytes for each.
    """

    fixed: float
    each: float

    def at(self, batch_size: float) -> float:
        """Bytes for so many sequences."""
        return self.fixed + self.each * batch_size

    def room(self, memory: float) -> int:
        """The most sequences that have room in so many bytes, or 0."""
        if self.each <= 0:
            return 0
        return max(0, int((memory - self.fixed) // self.each))


def fit_line(first: tuple[float, float], second: tuple[float, float]) -> Line:
    """The line through two points, (batch size, bytes) each."""
    (x, y), (other_x, other_y) = first, second
    each = (other_y - y) / (other_x - x)
    return Line(y - each * x, each)


def divisors(number: int) -> list[int]:
    """All divisors of a positive number, ascending."""
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def round_size(size: int) -> int:
    """The next multiple of 8 below, as a TPU's registers have 8 rows; below 8 the size itself."""
    return size if size < 8 else size // 8 * 8


def least_accumulate_steps(share: int, largest: int) -> int:
    """The fewest equal micro-batches in which a core can compute its share of the batch.

    Args:
        share: Sequences of each batch that a core has.
        largest: The most that it can compute at once, at least 1.
    """
    return share // max(size for size in divisors(share) if size <= largest)
