"""The layer-wise factor of the learning rate."""

from typing import NamedTuple

from keras import ops


class TrustRatio(NamedTuple):
    """||x||, ||u|| and the factor of the learning rate of one variable at the last update."""

    weight_norm: float
    update_norm: float
    trust_ratio: float


def trust_ratio(weight_norm, update_norm, weight_norm_bounds=None, trust_ratio_bounds=None):
    """phi(||x||) / ||u||, or 1 where either of the two is 0.

    Args:
        weight_norm: Float32 scalar, ||x||.
        update_norm: Float32 scalar, ||u||.
        weight_norm_bounds: `(low, high)` or None: phi(z) = min(max(z, low), high), section 3.2
            of You et al., arXiv 1904.00962; None is the identity of the authors' code.
        trust_ratio_bounds: `(low, high)` or None: the ratio is clipped to them. `(0, 1)` is
            LAMBC (Fong et al., arXiv 2011.13584).

    Returns:
        Float32 scalar.
    """
    if weight_norm_bounds is not None:
        weight_norm = ops.clip(weight_norm, *weight_norm_bounds)
    is_defined = ops.logical_and(weight_norm > 0, update_norm > 0)
    ratio = ops.where(is_defined, weight_norm / ops.where(is_defined, update_norm, 1.0), 1.0)
    if trust_ratio_bounds is not None:
        ratio = ops.clip(ratio, *trust_ratio_bounds)
    return ratio


def checked_bounds(name, bounds):
    """`bounds` as a pair of floats, or None.

    Raises:
        ValueError: not a pair, negative, or the lower one above the upper.
    """
    if bounds is None:
        return None
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a pair of numbers: {bounds!r}") from None
    if not 0 <= low <= high:
        raise ValueError(f"{name} must be 0 <= low <= high: {bounds!r}")
    return low, high
