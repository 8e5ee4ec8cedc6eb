"""How memory grows with the batch, and the largest one that fits."""

from typing import NamedTuple


class Line(NamedTuple):
    """Memory of a core as a function of the sequences that it computes at once.

    Args:
        fixed: Bytes for none.
        each: Bytes for each.
    """

    fixed: float
    each: float

    def at(self, batch_size):
        """Bytes for so many sequences."""
        return self.fixed + self.each * batch_size

    def room(self, memory):
        """The most sequences for which so many bytes suffice; 0 where none does."""
        if self.each <= 0:
            return 0
        return max(0, int((memory - self.fixed) // self.each))


def fit_line(first, second):
    """The line through two points, (batch size, bytes) each."""
    (x, y), (other_x, other_y) = first, second
    each = (other_y - y) / (other_x - x)
    return Line(y - each * x, each)


def divisors(number):
    """All divisors of a positive number, ascending."""
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def round_size(size):
    """The next multiple of 8 below, as a TPU's registers have 8 rows; below 8 the size itself."""
    return size if size < 8 else size // 8 * 8


def accumulation_for(share, largest):
    """Micro-batches that a core needs for its share of the batch: the fewest that are equal.

    Args:
        share: Sequences of each batch that a core has.
        largest: The most that it can compute at once, at least 1.
    """
    return share // max(size for size in divisors(share) if size <= largest)
