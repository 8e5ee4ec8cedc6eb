"""Options of `tfbert glue`: its own, and those of `finetune` that mean the same for every task."""

import dataclasses
from pathlib import Path
from typing import Any, Self

from tfbert.errors import InputError
from tfbert.io.paths import as_path, why_unwritable
from tfbert.options import Options, Seed, make_options, option_name
from tfbert.runs.command_options import FinetuneConfig
from tfbert.tasks.glue.benchmark import GLUE, GlueTaskName, task_folders

# Options of `finetune` that a suite of tasks has no use for: it knows them, or the tasks do.
OF_ONE_TASK = {
    *("task", "data", "model", "output", "seed", "resume", "overwrite"),
    *("eval_data", "eval_fraction", "split_seed", "encoding", "separator", "class_weights"),
    *("problem", "text_column", "label_column", "text_pair_column", "label_separator"),
    *("max_question_length", "max_answer_length"),
}


@dataclasses.dataclass(frozen=True)
class GlueConfig(Options):
    """Train and measure all of GLUE's tasks that are in a folder, with several seeds.

    Args:
        data: A folder with folders named as the benchmark names them: CoLA, SST-2, MRPC, STS-B,
            QQP, MNLI, QNLI, RTE, WNLI; AX (or diagnostic) is answered by the model of MNLI.
        model: Where to start, as in `finetune`.
        output: The folder to write: a run directory for each task and seed, and `glue.json`. What
            is finished there is not trained again.
        tasks: Names of some of the tasks, as in `finetune`; by default all that are in the folder.
        seeds: A run for each of them.
        submission: Also write the leaderboard's files, `submission/CoLA.tsv` and so on, with the
            seed of each task that is best on its evaluation examples.
        options: Options of `finetune`, the same for all tasks.
    """

    data: str
    model: str
    output: str
    tasks: list[GlueTaskName] = dataclasses.field(default_factory=list)
    seeds: list[Seed] = dataclasses.field(default_factory=lambda: [1, 2, 3])
    submission: bool = False
    options: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tasks", "seeds"):
            values = getattr(self, name)
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise InputError(f"{option_name(name)}: {twice} stands there twice")
        if not self.seeds:
            raise InputError("--seeds: give one at least")
        for name in self.options:
            if name in OF_ONE_TASK:
                raise InputError(f"{option_name(name)} is not an option of all tasks together")
        if reason := why_unwritable(self.output):
            raise InputError(f"--output {self.output}: {reason}")
        if (as_path(self.output) / "config.yaml").exists():
            raise InputError(f"--output {self.output}: holds a single run; choose another folder")
        if not self.folders():
            known = ", ".join(task.folders[0] for task in GLUE.values())
            raise InputError(
                f"--data {self.data}: holds none of the folders {known}; a single one is for "
                "`tfbert finetune --task`"
            )
        self.run("cola", Path(), 0)  # are the options of `finetune` right?

    @classmethod
    def from_options(cls, **options: Any) -> Self:
        """The configuration from its own options and those of `finetune`, in one dictionary."""
        own = {field.name for field in dataclasses.fields(cls)}
        given = {name: options[name] for name in options.keys() & own}
        shared = {name: value for name, value in options.items() if name not in own}
        return make_options(cls, {**given, "options": shared})

    def folders(self) -> dict[GlueTaskName, Path]:
        """The folder of each task to run, in the benchmark's order.

        Raises:
            InputError: If one of `tasks` is not there.
        """
        found = task_folders(self.data)
        for name in self.tasks:
            if name not in found:
                raise InputError(
                    f"--tasks {name}: there is no folder {GLUE[name].folders[0]} in {self.data}"
                )
        return {name: path for name, path in found.items() if name in (self.tasks or found)}

    def run(self, task: GlueTaskName, folder: Path, seed: int) -> FinetuneConfig:
        """The configuration of one run.

        Raises:
            InputError: If an option of `finetune` is wrong.
        """
        own = {"task": task, "data": str(folder), "model": self.model, "seed": seed}
        output = str(as_path(self.output) / task / f"seed-{seed}")
        return make_options(FinetuneConfig, {**self.options, **own, "output": output})
