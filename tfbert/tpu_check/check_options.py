"""Options of `tfbert tpu-check`."""

import dataclasses
from typing import Annotated, Any

from tfbert.errors import InputError
from tfbert.io.paths import has_folder
from tfbert.options import Count, Options, Rule, make_options
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.recovery.recovery_options import RunOptions

# Options of a recipe that say how a run goes, and nothing about the step that is compiled.
OF_THE_RUN = {
    *("data", "output", "init", "phases", "seed", "strategy", "replicas", "progress"),
    *("steps_per_execution", "eval_steps", "eval_sequences"),
    *(field.name for field in dataclasses.fields(RunOptions)),
}
# Far above any vocabulary.
_AT_MOST = Rule("at most 10,000,000", lambda size: size <= 10_000_000)


@dataclasses.dataclass(frozen=True)
class TpuCheckConfig(Options):
    """Compile the training step of a recipe with the TPU's own compiler; no TPU is needed.

    Args:
        recipe: What to train.
        accelerator: The TPU, as Google Cloud names it: v3-8, v5litepod-4, v6e-8 or a pod slice.
        per_device_batch_size: Sequences that a core computes at once, in every phase; by default
            what `pretrain` would choose.
        vocabulary_size: Word pieces of the records.
        next_sentence: Whether the records are sentence pairs.
        largest: Also look for the largest batch that fits; it takes two or more compilations a
            phase.
        json: Write the results to this file as well.
    """

    recipe: PretrainConfig
    accelerator: str
    per_device_batch_size: Count | None = None
    vocabulary_size: Annotated[Count, Rule("at most 10,000,000", lambda n: n <= 10_000_000)] = (
        30_522
    )
    next_sentence: bool = True
    largest: bool = True
    json: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recipe.precision == "float16":
            raise InputError("--precision float16: TPUs compute in bfloat16 or float32")
        if self.json and not has_folder(self.json):
            raise InputError(f"--json {self.json}: there is no such folder")
        if self.recipe.init:
            raise InputError(
                f"--recipe: it goes on from {self.recipe.init}, whose size tpu-check does not "
                "read: leave init out and give --size, or --num-layers and so on"
            )

    @classmethod
    def from_options(cls, **options: Any) -> "TpuCheckConfig":
        """The configuration from its own options and those of its recipe, in one dictionary."""
        own = {field.name for field in dataclasses.fields(cls)}
        # What a run reads and writes, a check does not.
        recipe = {"data": "", "output": "", **options}
        made = PretrainConfig(**{name: recipe[name] for name in recipe.keys() - own})
        given = {name: options[name] for name in options.keys() & own}
        return make_options(cls, {"recipe": made, **given})
