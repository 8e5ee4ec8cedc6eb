"""`tfbert COMMAND`: reads the command line, calls the package, and prints an error as one line.

TensorFlow is imported by the command that needs it, so that `--help` answers at once.
"""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from tfbert._version import __version__
from tfbert.arguments import CommandParser
from tfbert.errors import InputError, TfbertError
from tfbert.hardware import surroundings
from tfbert.io.paths import as_path, exists
from tfbert.io.terminal import log_to_standard_error, open_standard_error, silence_libraries
from tfbert.models.sources import resolve_source
from tfbert.options import Options, make_options, read_options, suggestion
from tfbert.planning.plan_options import PlanConfig
from tfbert.recipes import recipe_names, recipe_path
from tfbert.recipes.phases import Phase
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.recipes.recipe_command import OF_THE_RUN, RecipeOptions
from tfbert.records.record_options import InspectConfig, PrepareConfig
from tfbert.runs.command_options import (
    EvaluateConfig,
    FinetuneConfig,
    LaunchConfig,
    PredictConfig,
    StatusConfig,
)
from tfbert.runs.export_options import ExportConfig, check_export
from tfbert.runs.glue.glue_options import OF_ONE_TASK, GlueConfig
from tfbert.runs.starting import refuse_early
from tfbert.runs.tuning_data import read_tuning_data
from tfbert.text.vocab_options import VocabConfig
from tfbert.tpu_check.check_options import TpuCheckConfig


def finetune(config: FinetuneConfig) -> None:
    """Train a model for a task on texts, pairs, words or passages, and print its final numbers."""
    prints = _joins_as_chief(config)
    refuse_early(config)
    data = read_tuning_data(config)
    from tfbert.runs.finetune import finetune
    from tfbert.runs.scoring import metrics_table

    result = finetune(config, data)
    if prints:
        print(metrics_table(result.metrics))
        print(f"Run directory: {result.run_directory}")


def evaluate(config: EvaluateConfig) -> None:
    """Measure a trained model on labelled examples."""
    prints = _joins_as_chief(config)
    from tfbert.runs.evaluate import evaluate

    metrics = evaluate(config)
    if prints:
        from tfbert.runs.scoring import metrics_table

        print(json.dumps(metrics) if config.json else metrics_table(metrics))


def predict(config: PredictConfig) -> None:
    """Answer texts: one JSON object a line, in the order of the input."""
    resolve_source(config.model)
    if config.glue_submission is not None:
        from tfbert.runs.glue.submission import submit

        print("\n".join(map(str, submit(config))))
        return
    from tfbert.runs.predict import predict

    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    for answer in predict(config):
        print(json.dumps(answer, ensure_ascii=not unicode), flush=True)


def glue(config: GlueConfig) -> None:
    """Train and measure all of GLUE's tasks, with several seeds."""
    from tfbert.runs.glue.results import results_table
    from tfbert.runs.glue.suite import failures, glue

    results = glue(config)
    print(results_table(results))
    print(f"Results: {config.output}")
    if failed := failures(results):
        raise InputError(
            f"{len(failed)} failed, the first one {failed[0]} (the same command tries again)"
        )


def launch(config: LaunchConfig) -> None:
    """Run a command as several workers of one training on this machine."""
    from tfbert.hardware.launch import launch

    launch(config.command, config.workers)


def vocab(config: VocabConfig) -> None:
    """Learn a WordPiece vocabulary from text."""
    from tfbert.text.learn_vocabulary import learn_vocabulary

    print(f"{len(learn_vocabulary(config)):,} word pieces: {config.output}")


def prepare(config: PrepareConfig) -> None:
    """Turn text into training records for pre-training."""
    from tfbert.records.description import summary_lines
    from tfbert.records.prepare import prepare

    print("\n".join(summary_lines(prepare(config))))
    print(f"Training records: {config.output}")


def pretrain(config: PretrainConfig) -> None:
    """Train a BERT on the records of `prepare`."""
    prints = _joins_as_chief(config)
    refuse_early(config)
    from tfbert.runs.pretrain import pretrain

    result = pretrain(config)
    if not prints:
        return
    width = max(map(len, result.metrics)) + 2
    for name, value in result.metrics.items():
        print(f"{name:<{width}}" + (f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"))
    print(f"Run directory: {result.run_directory}")


def inspect(config: InspectConfig) -> None:
    """Show what is in a folder of training records."""
    from tfbert.records.inspection import inspect_lines

    for line in inspect_lines(config):
        print(line)


def tpu_check(config: TpuCheckConfig) -> None:
    """Compile a recipe's training step for a TPU, without one."""
    from tfbert.tpu_check.check import tpu_check
    from tfbert.tpu_check.report import check_lines

    # Else Python would stop at once, and the compiler, another process, would run on for minutes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    check = tpu_check(config)
    print("\n".join(check_lines(check)))
    check.require_fit()


def plan(config: PlanConfig) -> None:
    """Tell what a recipe would take on some hardware: memory, time, money."""
    from tfbert.planning.plan import plan
    from tfbert.planning.report import plan_text

    print("\n".join(plan_text(plan(config))))


def export(config: ExportConfig) -> None:
    """Write a trained model in another program's form."""
    check_export(config)
    resolve_source(config.model)
    from tfbert.runs.export import export

    export(config)
    print(f"Exported model: {config.output}")


def status(config: StatusConfig) -> None:
    """Tell what a run is doing."""
    from tfbert.runs.outputs.status import read_status, status_lines

    content = read_status(config.run)
    if config.json:
        print(json.dumps(content))
    else:
        print("\n".join(status_lines(config.run, content, time.time())))


def _joins_as_chief(config: FinetuneConfig | EvaluateConfig | PretrainConfig) -> bool:
    """Joins the other workers that TF_CONFIG may name, and returns whether this one should print.

    Keras must not be imported before.
    """
    if "TF_CONFIG" not in os.environ or config.strategy not in ("auto", "multi_worker"):
        return True
    from tfbert.hardware.strategies import find_strategy, is_chief

    if is_chief(find_strategy(config.strategy, config.replicas)):
        return True
    logging.getLogger("tfbert").setLevel(logging.WARNING)
    return False


COMMANDS: dict[str, tuple[Callable[[Any], None], type[Options]]] = {
    "finetune": (finetune, FinetuneConfig),
    "evaluate": (evaluate, EvaluateConfig),
    "predict": (predict, PredictConfig),
    "glue": (glue, GlueConfig),
    "export": (export, ExportConfig),
    "launch": (launch, LaunchConfig),
    "status": (status, StatusConfig),
    "vocab": (vocab, VocabConfig),
    "prepare": (prepare, PrepareConfig),
    "inspect": (inspect, InspectConfig),
    "pretrain": (pretrain, PretrainConfig),
    "plan": (plan, PlanConfig),
    "tpu-check": (tpu_check, TpuCheckConfig),
}

_RECIPE_COMMANDS = ("pretrain", "plan", "tpu-check")

# Options that are given without their name: `tfbert inspect DIR`.
POSITIONAL = {"inspect": "records", "status": "run", "launch": "command"}

_CONFIG_HELP = (
    "Take options from this YAML file, such as the config.yaml of a run (with an --output of its "
    "own); the command line goes before the file."
)

_RECIPE_HELP = (
    f"What to train: {', '.join(recipe_names())}, or a YAML file, such as the config.yaml of a "
    "run; the command line goes before it, also for a number of a phase: --phases.0.steps 100."
)


def parse(argv: Sequence[str]) -> tuple[Callable[[Any], None], Any]:
    """Returns the command's function and its validated configuration.

    Raises:
        InputError: If the command line, or a file that it names, is wrong.
    """
    if not argv:
        argv = ["--help"]
    word = next((word for word in argv if not word.startswith("-")), None)
    if word is not None and word not in COMMANDS:
        hint = suggestion(word, COMMANDS, f"commands are {', '.join(COMMANDS)}")
        raise InputError(f"{word} is not a command; {hint}")
    parser, command_parsers = build_parser()
    namespace, rest = parser.parse_known_args(argv)
    given = vars(namespace)
    name = given.pop("COMMAND")
    command_parser, (function, config_class) = command_parsers[name], COMMANDS[name]
    options = _options_of_file(name, given)
    rest = _change_phases(options.get("phases"), command_parser, rest)
    if rest and config_class is LaunchConfig and "--" not in argv:
        raise InputError(
            "write `--` before the command to launch: tfbert launch --workers 2 -- tfbert finetune "
            "..."
        )
    command_parser.refuse(rest)
    options.update(given)
    if issubclass(config_class, RecipeOptions | GlueConfig):
        return function, config_class.from_options(**options)
    return function, make_options(config_class, options)


def build_parser() -> tuple[CommandParser, dict[str, CommandParser]]:
    """The parser of `tfbert`, and the one of each command."""
    parser = CommandParser(prog="tfbert", description="Train BERT with Keras.")
    parser.add_argument("--version", action="version", version=f"tfbert {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="COMMAND", metavar="COMMAND", required=True
    )
    for name, (function, config_class) in COMMANDS.items():
        command = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        command.add_options(
            config_class, skip={"recipe", "phases", "options"}, positional=POSITIONAL.get(name)
        )
        if config_class is FinetuneConfig:
            command.add_argument("--config", metavar="FILE", help=_CONFIG_HELP)
        if issubclass(config_class, RecipeOptions):
            command.add_options(PretrainConfig, skip=OF_THE_RUN)
        if config_class is GlueConfig:
            command.add_options(FinetuneConfig, skip=OF_ONE_TASK)
        if name in _RECIPE_COMMANDS:
            command.add_argument("--recipe", metavar="NAME|FILE", help=_RECIPE_HELP)
    return parser, commands.choices


def _options_of_file(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Takes `--recipe` or `--config` out of the given options, and returns what the file says.

    Without either, `--resume --output RUN` reads the record of the run that it goes on with.
    """
    if name in _RECIPE_COMMANDS and "recipe" in given:
        return read_options(recipe_path(given.pop("recipe")), PretrainConfig)
    config_class = PretrainConfig if name in _RECIPE_COMMANDS else FinetuneConfig
    if "config" in given:
        return read_options(given.pop("config"), config_class)
    if not given.get("resume"):
        return {}
    if "output" not in given:
        raise InputError("--output must be given: the directory of the run to go on with")
    record = as_path(given["output"]) / "config.yaml"
    if not exists(record):
        raise InputError(f"--resume: {given['output']} holds no run: there is no config.yaml in it")
    return {**read_options(record, config_class), "overwrite": False}


def _change_phases(phases: Any, parser: CommandParser, words: list[str]) -> list[str]:
    """Changes a recipe's phases as in `--phases.0.steps 100`, and returns the other words."""
    if not isinstance(phases, list):  # the configuration refuses it later
        changed = next((word for word in words if word.startswith("--phases.")), None)
        if changed and parser.prog.split()[-1] in _RECIPE_COMMANDS:
            raise InputError(f"{changed} changes a phase of a recipe: give its --recipe")
        return words
    for number, phase in enumerate(phases):
        if isinstance(phase, dict):
            parser.add_options(Phase, prefix=f"phases.{number}.")
    changes, others = parser.parse_known_args(words)
    for key, value in vars(changes).items():
        _, index, field = key.split(".")
        phases[int(index)][field] = value
    return others


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the process's exit status.

    Args:
        argv: The words of the command line; by default those of this process, which is then taken
            for that of a command: what it inherits is put right, the libraries are silenced.
    """
    log_to_standard_error()
    words = sys.argv[1:] if argv is None else argv
    try:
        if argv is None:
            open_standard_error()
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, signal.default_int_handler)
        function, config = parse(words)
        if argv is None:
            backend = getattr(config, "backend", None)
            surroundings.prepare_command(words, os.environ, backend)
            if function is not launch:  # each of its workers does so itself
                silence_libraries()
        function(config)
    except TfbertError as error:
        print(f"tfbert: error: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        # The reader (`| head`) has stopped, or the disk under standard output is full. Python would
        # report it once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"tfbert: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"tfbert: {stop or 'stopped'}", file=sys.stderr)
        return 130
    return 0
