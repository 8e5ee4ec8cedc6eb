"""Options of the commands that start from a trained model: frozen dataclasses, validated when made.

The command line is read off these classes (names, types, defaults and the help in the docstrings),
and `config.yaml` in a run directory is one of them written out.
"""

import dataclasses
from typing import Annotated, Literal

from tfbert.errors import InputError
from tfbert.io.paths import why_unwritable
from tfbert.options import (
    AttentionName,
    BackendName,
    Count,
    DropoutRate,
    NotNegative,
    Options,
    Positive,
    PositiveShare,
    PrecisionName,
    Seed,
    Separator,
    Share,
    StrategyName,
    TokenCacheName,
    at_least,
    require,
)
from tfbert.recovery.recovery_options import RunOptions
from tfbert.tasks.known_problems import problem_class
from tfbert.tasks.known_tasks import TASKS, TaskName
from tfbert.tasks.problem_options import ProblemOptions


@dataclasses.dataclass(frozen=True)
class FinetuneConfig(ProblemOptions, RunOptions):
    """Train a pre-trained BERT for a task.

    Args:
        task: What the data is. `embedded` is the small sentiment set that ships with the package;
            `cola`, `sst2`, `mrpc`, `stsb`, `qqp`, `mnli`, `qnli`, `rte`, `wnli` and `ax` are those
            of GLUE (docs/glue.md), `movie_reviews`, `imdb`, `goemotions`, `wnut17` and `squad`
            other public sets, all in their original layout; `csv`, `tsv`, `jsonl`, `conll` and,
            for questions about passages, `squad` are also files of your own.
        output: The run directory to write.
        data: The data's file or folder (`embedded` needs none).
        model: Where to start: a run directory, `embedded`, a KerasHub preset name,
            `hf://owner/name`, or any BERT's directory (docs/models.md).
        eval_data: A file with the evaluation examples; by default the data's own evaluation split,
            or `eval_fraction` of the training examples where it has none.
        eval_fraction: Share of the examples held out where the data has no evaluation split.
        split_seed: Seed of that split (the same for every training seed).
        text_column: Name of the column with the text (csv, tsv, jsonl); by default `text`.
        label_column: Name of the column with the label (csv, tsv, jsonl); by default `label`.
            Several names with commas between them are columns of 1 and 0, one a label (multilabel).
            Of conll, the number of the column, from 0, or from the end from -1, which is the
            default.
        separator: What separates the columns of csv and tsv files, `tab` or a character; by default
            found by the header (docs/data.md).
        train_examples: Train on this many of the training examples, drawn with `split_seed`; by
            default on all.
        encoding: Text encoding of the files.
        max_length: Longest sequence in tokens, with [CLS] and [SEP]; the default is the task's.
        epochs: Passes over the training examples; the default is the task's.
        global_batch_size: Examples an update, over all replicas together.
        per_device_batch_size: Examples in a micro-batch: a device computes its share of the global
            batch in micro-batches, one after the other. By default the whole share at once.
        tokens_per_batch: Tokens an update, padding included, over all replicas together, instead
            of a number of examples: many short texts or a few long ones. `global_batch_size` is
            then that of the evaluation only.
        pad_to_max_length: Shuffle without regard to length, and pad every text to `max_length`, as
            most tutorials do; to measure what batches by length save.
        token_cache: Where texts that were tokenized once are kept for the next run on the same
            data: `memory`, for runs in this process; `none`; or a folder, local or `gs://`.
        learning_rate: Peak of the learning rate; the default is the task's, and for LAMB
            `2.5e-4 * sqrt(batch / 32)`.
        warmup_fraction: Share of the updates in which the rate rises from 0; then it falls to 0.
        weight_decay: Decoupled weight decay; biases and layer normalisation have none.
        max_grad_norm: Clip the gradient of the global batch to this norm, as BERT's own
            fine-tuning does; 0 does not.
        optimizer: `adamw`; or `lamb`, for batches of 128 and more (docs/speed.md).
        class_weights: `none`, `balanced` (each class counts the same in the loss), or one number
            a class in the order of the labels. Where a text may have several labels, they weigh
            that it has a label against that it has it not.
        freeze_layers: Leave the embeddings and this many of the lowest layers as they are.
        dropout: Rate of dropout in the encoder; by default that of the model. A model that was
            pre-trained without dropout may need some when there are few labels.
        attention_dropout: Rate of dropout on attention probabilities; by default that of the rest.
        attention: How attention is computed on JAX where `attention_dropout` is 0, as in
            `pretrain`.
        early_stopping: Stop after this many epochs in which the main metric (docs/tasks.md) on the
            evaluation examples was not better; 0 trains all epochs.
        keep_epoch: Whose weights the run ends with: `best`, those of the epoch with the highest
            main metric on the evaluation examples (of equal ones, the lowest loss), or `last`. The
            evaluation examples then choose the epoch, and its numbers on them are a little too
            good: for an unbiased number measure on others with `tfbert evaluate --data`.
        precision: Arithmetic of the encoder; `auto` takes the fastest one of the hardware.
        jit_compile: Whether XLA compiles the forward and backward pass; by default on GPUs. On JAX
            it always does.
        backend: What Keras computes on: `tensorflow` or `jax` (docs/jax.md); by default what
            KERAS_BACKEND says, else TensorFlow. Calls from Python go by KERAS_BACKEND alone.
        strategy: What to train on: `cpu`; `mirrored`, the GPUs of this machine; `multi_worker`,
            the machines that TF_CONFIG names (see `tfbert launch`); `tpu`; `auto` takes what is
            available.
        replicas: Devices of this machine to train on; by default every GPU, else one CPU. On a
            machine without GPUs, 2 or more makes logical CPU devices.
        rematerialize: Compute the encoder's activations again in the backward pass instead of
            keeping them: less memory, more time.
        steps_per_execution: Updates that run in one call.
        seed: Seed of the head's weights, of the batches and of dropout.
        progress: Show a progress bar.
        problem, text_pair_column, label_separator, long_texts, doc_stride, max_question_length,
            max_answer_length: As in `ProblemOptions`.
        checkpoint_steps, checkpoint_minutes, keep_checkpoints, on_nan, max_rollbacks, resume,
            overwrite: As in `RunOptions`.
    """

    task: TaskName
    output: str
    data: str | None = None
    model: str | None = None
    eval_data: str | None = None
    eval_fraction: PositiveShare = 0.1
    split_seed: Seed = 0
    text_column: str | None = None
    label_column: str | None = None
    separator: Separator | None = None
    train_examples: Annotated[int, at_least(2)] | None = None
    encoding: str = "utf-8"
    max_length: Annotated[int, at_least(3)] | None = None
    epochs: Count | None = None
    global_batch_size: Count = 32
    per_device_batch_size: Count | None = None
    tokens_per_batch: Annotated[int, at_least(3)] | None = None
    pad_to_max_length: bool = False
    token_cache: TokenCacheName = "memory"
    learning_rate: Positive | None = None
    warmup_fraction: Share = 0.1
    weight_decay: NotNegative = 0.01
    max_grad_norm: NotNegative = 1.0
    optimizer: Literal["adamw", "lamb"] = "adamw"
    class_weights: Literal["none", "balanced"] | list[Positive] = "none"
    freeze_layers: Annotated[int, at_least(0)] = 0
    dropout: DropoutRate | None = None
    attention_dropout: DropoutRate | None = None
    attention: AttentionName = "auto"
    early_stopping: Annotated[int, at_least(0)] = 0
    keep_epoch: Literal["best", "last"] = "best"
    precision: PrecisionName = "auto"
    jit_compile: bool | None = None
    backend: BackendName | None = None
    strategy: StrategyName = "auto"
    replicas: Count | None = None
    rematerialize: bool = False
    steps_per_execution: Count = 1
    seed: Seed = 1
    progress: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokens_per_batch and self.pad_to_max_length:
            raise InputError("--pad-to-max-length: batches of --tokens-per-batch are by length")
        if self.tokens_per_batch and self.per_device_batch_size:
            raise InputError(
                "--tokens-per-batch goes without --per-device-batch-size: the number of examples "
                "changes from one update to the next; give fewer tokens instead"
            )
        task = TASKS[self.task]
        if task.data is None:
            for name in ("data", "model"):
                if not getattr(self, name):
                    raise InputError(f"--{name} must be given for --task {self.task}")
        if not task.own_columns:
            columns = ("text_column", "text_pair_column", "label_column", "label_separator")
            for name in (*columns, "separator"):
                value = getattr(self, name)
                require(value is None, name, value, f"left out: --task {self.task} knows its own")
        if self.problem is not None:
            problem_class(self.problem)
            is_own = task.problem in (None, self.problem)
            require(is_own, "problem", self.problem, f"{task.problem}: that is --task {self.task}")


@dataclasses.dataclass(frozen=True)
class EvaluateConfig(Options):
    """Measure a trained model on labelled examples.

    Args:
        model: A run directory, or any classifier's directory or name (docs/models.md).
        data: A file with the task's columns, or a folder in the task's layout, whose evaluation
            split is used; by default the data that the run was evaluated on.
        task: What the data is; by default the run's own task.
        text_column: Name of the column with the text; by default the run's.
        text_pair_column: Name of the column with the second text; by default the run's.
        label_column: Name of the column with the label; by default the run's.
        separator, label_separator: As in `finetune`; by default the run's.
        encoding: Text encoding of the files; by default the run's.
        batch_size: Examples a step.
        token_cache: As in `finetune`.
        precision: Arithmetic of the encoder; float32 gives the same numbers on any hardware.
        backend: What Keras computes on, as in `finetune`.
        strategy: What to evaluate on, as in `finetune`.
        replicas: Devices of this machine to evaluate on, as in `finetune`.
        json: Print one JSON object instead of a table.
        progress: Show a progress bar.
    """

    model: str
    data: str | None = None
    task: TaskName | None = None
    text_column: str | None = None
    text_pair_column: str | None = None
    label_column: str | None = None
    separator: Separator | None = None
    label_separator: str | None = None
    encoding: str | None = None
    batch_size: Count = 64
    token_cache: TokenCacheName = "memory"
    precision: PrecisionName = "float32"
    backend: BackendName | None = None
    strategy: StrategyName = "auto"
    replicas: Count | None = None
    json: bool = False
    progress: bool = True


@dataclasses.dataclass(frozen=True)
class PredictConfig(Options):
    """Answer texts with a trained model: one JSON object a line, in the order of the input.

    Args:
        model: A run directory, or any classifier's directory or name (docs/models.md). With a
            pre-trained BERT, words are predicted for each [MASK] of a text.
        input: A file with one text a line; a table (.csv, .tsv, .jsonl or .json), whose other
            columns come with the answers; `-` is standard input, with one text a line.
        text_column: Name of a table's column with the text; by default the run's.
        text_pair_column: Name of that with the second text, of a model that judges pairs; by
            default the run's; a model of another program is given pairs by this option. On a line,
            a tab stands before the second text.
        question: A question about a passage, of a model that answers such: the whole input is the
            passage.
        n_best: How many answers to give to each text, where there are several: the label with
            the highest probability, the next one, ...
        separator: What separates the columns of a table, `tab` or a character; by default found by
            the header.
        glue_submission: A folder: write the predictions for a GLUE task's test files there, in the
            form of the benchmark's leaderboard, and print the files' names. `input` is then the
            task's folder or a test file (docs/glue.md).
        encoding: Text encoding of the input.
        batch_size: Texts a step.
        precision: Arithmetic of the encoder; float32 gives the same numbers on any hardware.
        backend: What Keras computes on, as in `finetune`.
        progress: Show a progress bar.
    """

    model: str
    input: str = "-"
    text_column: str | None = None
    text_pair_column: str | None = None
    question: str | None = None
    n_best: Count = 1
    separator: Separator | None = None
    glue_submission: str | None = None
    encoding: str = "utf-8"
    batch_size: Count = 64
    precision: PrecisionName = "float32"
    backend: BackendName | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.glue_submission is None:
            return
        if self.input == "-":
            raise InputError("--glue-submission: give --input, a GLUE task's folder or test file")
        for name in ("text_column", "text_pair_column", "separator"):
            value = getattr(self, name)
            require(value is None, name, value, "left out: the task knows its own columns")
        require(self.n_best == 1, "n_best", self.n_best, "left out: a submission has one answer")
        if reason := why_unwritable(self.glue_submission):
            raise InputError(f"--glue-submission {self.glue_submission}: {reason}")


@dataclasses.dataclass(frozen=True)
class StatusConfig(Options):
    """Tell what a run is doing, and whether it is alive.

    Args:
        run: A run directory.
        json: Print one JSON object instead of text.
    """

    run: str
    json: bool = False


@dataclasses.dataclass(frozen=True)
class LaunchConfig(Options):
    """Run a training command as several workers on this machine.

    Args:
        workers: How many processes.
        command: The command and its arguments, behind `--`, which keeps its options apart from
            those of `launch`: `tfbert launch --workers 2 -- tfbert finetune --task embedded
            --output runs/two`.
        backend: What Keras computes on in the workers, as in `finetune`.
    """

    workers: Count
    command: list[str] = dataclasses.field(default_factory=list)
    backend: BackendName | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.command:
            raise InputError("there is no command to launch: write it after `--`")
        if self.command[0] in ("finetune", "pretrain", "evaluate"):
            raise InputError(
                f"{self.command[0]}: write the whole command after `--`: tfbert {self.command[0]}"
            )
