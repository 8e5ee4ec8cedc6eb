"""`tfbert COMMAND`: reads arguments, calls the package, and turns errors into one line.

TensorFlow is imported by the command that needs it, so that `--help` answers at once.
"""

import argparse
import dataclasses
import json
import logging
import os
import re
import signal
import sys
import time
import typing

from jsonargparse import ActionYesNo, ArgumentParser

from tfbert._version import __version__
from tfbert.errors import InputError, TfbertError
from tfbert.options import read_options
from tfbert.recipes import recipe_names
from tfbert.recipes.pretrain_options import PretrainConfig, read_recipe
from tfbert.records.record_options import InspectConfig, PrepareConfig
from tfbert.runs.command_options import (
    EvaluateConfig,
    FinetuneConfig,
    LaunchConfig,
    PredictConfig,
    StatusConfig,
)
from tfbert.text.vocab_options import VocabConfig
from tfbert.tpu_check.check_options import OF_THE_RUN, TpuCheckConfig


def finetune(config):
    """Train a sentence classifier and print its final numbers."""
    prints = _joins_as_chief(config)
    from tfbert.runs.finetune import finetune
    from tfbert.runs.report import metrics_table

    result = finetune(config)
    if prints:
        print(metrics_table(result.metrics))
        print(f"Run directory: {result.run_directory}")


def evaluate(config):
    """Measure a trained classifier on labelled examples."""
    prints = _joins_as_chief(config)
    from tfbert.runs.evaluate import evaluate
    from tfbert.runs.report import metrics_json, metrics_table

    metrics = evaluate(config)
    if prints:
        print(metrics_json(metrics) if config.json else metrics_table(metrics))


def predict(config):
    """Label texts: one JSON object a line, in the order of the input."""
    from tfbert.runs.predict import predict

    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    for answer in predict(config):
        print(json.dumps(answer, ensure_ascii=not unicode), flush=True)


def launch(config):
    """Run a command as several workers of one training on this machine."""
    from tfbert.hardware.launch import launch

    launch(config)


def vocab(config):
    """Learn a WordPiece vocabulary from text."""
    from tfbert.text.learn_vocabulary import learn_vocabulary

    print(f"{len(learn_vocabulary(config)):,} word pieces: {config.output}")


def prepare(config):
    """Turn text into training records for pre-training."""
    from tfbert.records.description import summary_lines
    from tfbert.records.prepare import prepare

    print("\n".join(summary_lines(prepare(config))))
    print(f"Training records: {config.output}")


def pretrain(config):
    """Train a BERT on the records of `prepare`."""
    prints = _joins_as_chief(config)
    from tfbert.runs.pretrain import pretrain

    result = pretrain(config)
    if not prints:
        return
    for name, value in result.metrics.items():
        print(f"{name:<18}{value:,.4f}" if isinstance(value, float) else f"{name:<18}{value:,}")
    print(f"Run directory: {result.run_directory}")


def inspect(config):
    """Show what is in a folder of training records."""
    from tfbert.records.inspection import inspect_lines

    for line in inspect_lines(config):
        print(line)


def tpu_check(config):
    """Compile a recipe's training step for a TPU, without one."""
    from tfbert.tpu_check.check import tpu_check
    from tfbert.tpu_check.report import check_lines

    # Python would end at once, and the compiler, a process of its own, go on for minutes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    check = tpu_check(config)
    print("\n".join(check_lines(check)))
    check.require_fit()


def status(config):
    """Tell what a run is doing."""
    from tfbert.runs.status import read_status, status_lines

    content = read_status(config.run)
    if config.json:
        print(json.dumps(content))
    else:
        print("\n".join(status_lines(config.run, content, time.time())))


def _joins_as_chief(config):
    """Joins the other workers that TF_CONFIG may name; whether this one is to print.

    Keras must not be imported before.
    """
    if "TF_CONFIG" not in os.environ or config.strategy not in ("auto", "multi_worker"):
        return True
    from tfbert.hardware.strategies import get_strategy, is_chief

    if is_chief(get_strategy(config.strategy, config.replicas)):
        return True
    logging.getLogger("tfbert").setLevel(logging.WARNING)
    return False


_LOG = logging.StreamHandler()

COMMANDS = {
    "finetune": (finetune, FinetuneConfig),
    "evaluate": (evaluate, EvaluateConfig),
    "predict": (predict, PredictConfig),
    "launch": (launch, LaunchConfig),
    "status": (status, StatusConfig),
    "vocab": (vocab, VocabConfig),
    "prepare": (prepare, PrepareConfig),
    "inspect": (inspect, InspectConfig),
    "pretrain": (pretrain, PretrainConfig),
    "tpu-check": (tpu_check, TpuCheckConfig),
}

# Options that no single word can give.
_FROM_FILES_ONLY = {"phases", "recipe"}

# Commands that take a recipe, and what of it they do not ask for on the command line.
_RECIPE_COMMANDS = {"pretrain": _FROM_FILES_ONLY, "tpu-check": OF_THE_RUN}

# Required options that are given without their name: `tfbert inspect DIR`.
POSITIONAL = {"inspect": "records", "status": "run"}


_CONFIG_HELP = (
    "Take options from this YAML file, such as the config.yaml of a run (with an --output of its "
    "own); the command line goes before the file."
)


_RECIPE_HELP = (
    f"What to train: {', '.join(recipe_names())}, or a YAML file, such as the config.yaml of a "
    "run; the command line goes before it, also for a number of a phase: --phases.0.steps 100."
)


class DashedParser(ArgumentParser):
    """`--text-column` for the field `text_column`; `--overwrite`, `--no-progress` for booleans."""

    def add_argument(self, *names, **kwargs):
        if kwargs.get("type") is bool:
            kwargs.pop("type")
            kwargs["action"] = ActionYesNo(no_prefix="no-")
        return super().add_argument(*(name.replace("_", "-") for name in names), **kwargs)


def build_parser(defaults):
    """The parser of `tfbert`, one sub-parser a command; `defaults` (by command) replace its own."""
    parser = DashedParser(prog="tfbert", description="Train BERT with Keras.", exit_on_error=False)
    parser.add_argument("--version", action="version", version=f"tfbert {__version__}")
    commands = parser.add_subcommands(dest="command", required=True)
    for name, (function, config_class) in COMMANDS.items():
        command = DashedParser(exit_on_error=False)
        command.add_class_arguments(
            config_class, as_positional=name in POSITIONAL, skip=_FROM_FILES_ONLY
        )
        if config_class is FinetuneConfig:
            command.add_argument("--config", metavar="FILE", help=_CONFIG_HELP)
        if config_class is TpuCheckConfig:
            fields = {field.name for field in dataclasses.fields(PretrainConfig)}
            command.add_class_arguments(PretrainConfig, skip=OF_THE_RUN & fields)
        if name in _RECIPE_COMMANDS:
            command.add_argument("--recipe", metavar="NAME|FILE", help=_RECIPE_HELP)
        command.set_defaults(defaults.get(name, {}))
        commands.add_subcommand(name, command, help=function.__doc__)
    return parser


def parse(argv):
    """Returns the command's function and its validated configuration."""
    first = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    first.add_argument("command", nargs="?")
    first.add_argument("--config")
    first.add_argument("--output")
    first.add_argument("--resume", action="store_true")
    first.add_argument("--recipe")
    defaults, from_file = {}, {}
    try:
        known, _ = first.parse_known_args(argv)
        given = known.recipe if known.command in _RECIPE_COMMANDS else known.config
        file = given or _record_to_go_on_with(known)
        if file and known.command == "finetune":
            defaults["finetune"] = read_options(file, FinetuneConfig)
        elif file and known.command in _RECIPE_COMMANDS:
            argv, phase_options = _take_phase_options(argv)
            defaults[known.command] = options = read_recipe(file, phase_options)
            hidden = _RECIPE_COMMANDS[known.command] & set(options)
            from_file = {name: options.pop(name) for name in hidden}
        if not given and known.command in defaults:
            defaults[known.command]["overwrite"] = False
        parsed = build_parser(defaults).parse_args(_join_lists(argv))
    except argparse.ArgumentError as error:
        raise InputError(_one_line(error)) from error
    function, config_class = COMMANDS[parsed.command]
    options = vars(parsed[parsed.command])
    for name in ("config", "recipe"):
        options.pop(name, None)
    make = getattr(config_class, "from_options", config_class)
    return function, make(**options, **from_file)


def _record_to_go_on_with(known):
    """The `config.yaml` of the run that `--resume --output RUN` goes on with; None without one."""
    if not (known.resume and known.output):
        return None
    record = os.path.join(known.output, "config.yaml")
    return record if os.path.exists(record) else None


def _take_phase_options(argv):
    """Takes `--phases.0.steps 100` out of the words: (other words, [("phases.0.steps", 100)])."""
    others, taken, words = [], [], list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("--phases."):
            others.append(word)
            continue
        key, equals, value = word.partition("=")
        if not equals:
            value = words.pop(0) if words else ""
        taken.append((key.removeprefix("--").replace("-", "_"), _plain_value(value)))
    return others, taken


def _plain_value(text):
    """A word of the command line as a number, None (`null`), true, false or itself."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"null": None, "true": True, "false": False}.get(text, text)


def _join_lists(argv):
    """`--input A B` as `--input '["A", "B"]'`, the way in which the parser reads lists.

    What follows `--` is the command that `launch` runs.
    """
    if "--" in argv:
        end = argv.index("--")
        return [*_join_lists(argv[:end]), "--command", json.dumps(argv[end + 1 :])]
    command = next((word for word in argv if word in COMMANDS), None)
    kinds = {}
    if command:
        for name, kind in typing.get_type_hints(COMMANDS[command][1]).items():
            if type(None) in typing.get_args(kind):  # `list[float] | None`
                kind = typing.get_args(kind)[0]
            if typing.get_origin(kind) is list:
                kinds["--" + name.replace("_", "-")] = typing.get_args(kind)[0]
    joined, words = [], list(argv)
    while words:
        option, equals, first = words.pop(0).partition("=")
        if option not in kinds:
            joined.append(option + equals + first)
            continue
        values = [first] if equals else []
        while words and (words[0] == "-" or not words[0].startswith("-")):
            values.append(words.pop(0))
        if kinds[option] is str:
            values = map(json.dumps, values)
        joined += [option, f"[{', '.join(values)}]"]
    return joined


def _one_line(error):
    """The parser's message in the words of the command line."""
    message = " ".join(str(error).split())
    match = re.match(
        r'Parser key "(?P<key>\w+)": .*(?:Got|Given) value: (?P<value>.*?)( Given value type|$)',
        message,
    )
    if match:
        option = match["key"].replace("_", "-")
        message = f"--{option} cannot be {match['value']!r}"
    message = re.sub(
        r"\b(?P<command>" + "|".join(COMMANDS) + r")\.(?P<name>\w+)",
        lambda key: "--" * (POSITIONAL.get(key["command"]) != key["name"]) + key["name"],
        message,
    )
    return f"{message}; `tfbert COMMAND --help` lists what each option takes"


def main(argv=None):
    """Runs one command and returns the process's exit status."""
    # Read when TensorFlow is imported: its C++ parts report what matters as exceptions, too.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    _log_to_standard_error()
    try:
        function, config = parse(sys.argv[1:] if argv is None else argv)
        function(config)
    except TfbertError as error:
        print(f"tfbert: error: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        # The reader (`| head`) has left, or the disk under standard output is full. Python would
        # complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"tfbert: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tfbert: stopped", file=sys.stderr)
        return 130
    return 0


def _log_to_standard_error():
    """Shows the package's own messages, and not those of the libraries below it."""
    logger = logging.getLogger("tfbert")
    logger.setLevel(logging.INFO)
    _LOG.stream = sys.stderr  # a program may have changed it since the last call
    if not logger.handlers:
        _LOG.setFormatter(logging.Formatter("tfbert: %(message)s"))
        logger.addHandler(_LOG)
