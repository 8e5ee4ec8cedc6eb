"""Options of the commands that look at a recipe without training it: `plan` and `tpu-check`."""

import dataclasses
from typing import Annotated, Any, Self

from tfbert.errors import InputError
from tfbert.io.paths import has_folder
from tfbert.options import Count, Options, Rule, make_options
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.recovery.recovery_options import RunOptions

# Options of a recipe that say how a run goes, and nothing about what is computed.
OF_THE_RUN = {
    *("data", "output", "vocab", "init", "phases", "seed", "strategy", "replicas", "progress"),
    *("steps_per_execution", "eval_steps", "eval_sequences", "backend"),
    *(field.name for field in dataclasses.fields(RunOptions)),
}

# Far above any vocabulary: the TPU's compiler would say it in other words.
_AT_MOST = Rule("at most 10,000,000", lambda size: size <= 10_000_000)


@dataclasses.dataclass(frozen=True)
class RecipeOptions(Options):
    """What such a command needs to know in addition to a recipe, where there are no records.

    Args:
        recipe: What to train.
        vocabulary_size: Word pieces of the records.
        next_sentence: Whether the records are sentence pairs.
        json: Write the results to this file as well.
    """

    recipe: PretrainConfig
    vocabulary_size: Annotated[
        Count, Rule("at most 10,000,000", lambda size: size <= 10_000_000)
    ] = dataclasses.field(default=30_522, kw_only=True)
    next_sentence: bool = dataclasses.field(default=True, kw_only=True)
    json: str | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.json and not has_folder(self.json):
            raise InputError(f"--json {self.json}: there is no such folder")
        if self.recipe.init:
            raise InputError(
                f"--recipe: it goes on from {self.recipe.init}, whose size is not read here: leave "
                "init out and give --size, or --num-layers and so on"
            )

    @classmethod
    def from_options(cls, **options: Any) -> Self:
        """The configuration from its own options and those of its recipe, in one dictionary."""
        own = {field.name for field in dataclasses.fields(cls)}
        # What a run reads and writes, these commands do not.
        recipe = {"data": "", "output": "", **options}
        made = PretrainConfig(**{name: recipe[name] for name in recipe.keys() - own})
        given = {name: options[name] for name in options.keys() & own}
        return make_options(cls, {"recipe": made, **given})
