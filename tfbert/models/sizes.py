"""Sizes of BERT encoders: the published ones by name, any other by its numbers."""

import dataclasses

from tfbert.errors import InputError

LAYER_NORM_EPSILON = 1e-12  # of Google's models


@dataclasses.dataclass(frozen=True)
class BertSize:
    """How large an encoder is.

    Args:
        num_layers: Transformer layers.
        hidden_dim: Width of what goes from layer to layer.
        num_heads: Attention heads; they divide `hidden_dim` evenly.
        intermediate_dim: Width inside the feed-forward parts.

    Raises:
        InputError: If a number is below 1, or the heads do not divide the width.
    """

    num_layers: int
    hidden_dim: int
    num_heads: int
    intermediate_dim: int

    def __post_init__(self) -> None:
        for name, number in dataclasses.asdict(self).items():
            if number < 1:
                raise InputError(f"--{name.replace('_', '-')} is {number}: it must be at least 1")
        if self.hidden_dim % self.num_heads:
            raise InputError(
                f"--num-heads is {self.num_heads}: it must divide --hidden-dim {self.hidden_dim}"
            )


# base and large: Devlin et al. 2019, section 3; the others: Turc et al. 2019 (arXiv 1908.08962),
# table 1. Heads are 64 wide, feed-forward parts 4 times as wide as the rest, in all of them.
SIZES = {
    "tiny": BertSize(2, 128, 2, 512),
    "mini": BertSize(4, 256, 4, 1024),
    "small": BertSize(4, 512, 8, 2048),
    "medium": BertSize(8, 512, 8, 2048),
    "base": BertSize(12, 768, 12, 3072),
    "large": BertSize(24, 1024, 16, 4096),
}


def bert_size(
    name: str,
    num_layers: int | None = None,
    hidden_dim: int | None = None,
    num_heads: int | None = None,
    intermediate_dim: int | None = None,
) -> BertSize:
    """A published size, or one that differs from it in some numbers.

    Args:
        name: A key of `SIZES`.
        num_layers, hidden_dim, num_heads, intermediate_dim: As in `BertSize`; by default the named
            size's. With another width, heads are 64 wide and the feed-forward parts 4 times as
            wide as the rest, unless their numbers are given too.

    Raises:
        InputError: If there is no such name, or the numbers do not fit together.
    """
    if name not in SIZES:
        raise InputError(f"--size is {name!r}: it must be one of {', '.join(SIZES)}")
    changes = {
        "num_layers": num_layers,
        "hidden_dim": hidden_dim,
        "num_heads": num_heads,
        "intermediate_dim": intermediate_dim,
    }
    usual = {}
    if hidden_dim is not None:
        if num_heads is None and hidden_dim > 64 and hidden_dim % 64:
            raise InputError(
                f"--num-heads must be given: --hidden-dim {hidden_dim} is not a multiple of "
                "64, the usual width of a head"
            )
        usual = {"num_heads": max(1, hidden_dim // 64), "intermediate_dim": 4 * hidden_dim}
    given = {field: value for field, value in changes.items() if value is not None}
    return dataclasses.replace(SIZES[name], **{**usual, **given})
