"""Options of `tfbert plan`."""

import dataclasses

from tfbert.options import Positive
from tfbert.recipes.recipe_command import RecipeOptions


@dataclasses.dataclass(frozen=True)
class PlanConfig(RecipeOptions):
    """Tell what a pre-training would take: operations, memory, time, money. Nothing is trained.

    Args:
        hardware: What to train on: `cpu` (this machine), GPUs such as 1xT4 or 8xA100-80GB, or a TPU
            slice as Google Cloud names it, such as v3-2048 (1,024 chips).
        price_per_hour: Price of all of the hardware together for an hour, in any currency. By
            default, of a TPU Google's list price in US dollars.
    """

    hardware: str
    price_per_hour: Positive | None = None
