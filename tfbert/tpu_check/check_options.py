"""Options of `tfbert tpu-check`."""

import dataclasses

from tfbert.errors import InputError
from tfbert.options import BackendName, Count
from tfbert.recipes.recipe_command import RecipeOptions


@dataclasses.dataclass(frozen=True)
class TpuCheckConfig(RecipeOptions):
    """Compile the training step of a recipe with the TPU's own compiler; no TPU is needed.

    Args:
        accelerator: The TPU, as Google Cloud names it: v3-8, v5litepod-4, v6e-8 or a pod slice.
        per_device_batch_size: Sequences that a core computes at once, in every phase; by default
            what `pretrain` would choose.
        largest: Also look for the largest batch that fits; it takes two or more compilations a
            phase.
        backend: What Keras runs on: the step of `tensorflow`, or that of `jax` (docs/jax.md); by
            default JAX' where JAX is installed, on which TPUs have their future.
    """

    accelerator: str
    per_device_batch_size: Count | None = None
    largest: bool = True
    backend: BackendName | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recipe.precision == "float16":
            raise InputError("--precision float16: TPUs compute in bfloat16 or float32")
        if self.recipe.teacher:
            raise InputError(
                f"--teacher {self.recipe.teacher}: the step is compiled without a teacher; leave "
                "it out, and see `tfbert plan` for what it adds"
            )
