"""The optimizer that a configuration asks for."""

from tfbert.optimizers.adamw import AdamW
from tfbert.optimizers.lamb import LAMB

_OPTIMIZERS = {"adamw": AdamW, "lamb": LAMB}

# Parameters from which on XLA's faster updates are worth the seconds that it compiles: an update
# of fewer takes milliseconds either way.
_WORTH_COMPILING = 4_000_000


def make_optimizer(name, model, learning_rate, **options):
    """An optimizer for all weights of a model.

    Args:
        name: `adamw` or `lamb`.
        model: What it will train.
        learning_rate: Float or schedule.
        **options: Further arguments of `tfbert.AdamW` or `tfbert.LAMB`.
    """
    worth_it = model.count_params() >= _WORTH_COMPILING
    return _OPTIMIZERS[name](learning_rate, jit_compile=worth_it, **options)
