"""`tfbert COMMAND`: reads arguments, calls the package, and turns errors into one line.

TensorFlow is imported by the command that needs it, so that `--help` answers at once.
"""

import argparse
import json
import logging
import os
import re
import sys
import typing

from jsonargparse import ActionYesNo, ArgumentParser

from tfbert._version import __version__
from tfbert.config import EvaluateConfig, FinetuneConfig, PredictConfig, read_options
from tfbert.data.config import InspectConfig, PrepareConfig, VocabConfig
from tfbert.errors import InputError, TfbertError


def finetune(config):
    """Train a sentence classifier and print its final numbers."""
    from tfbert.training.finetune import finetune
    from tfbert.training.report import metrics_table

    result = finetune(config)
    print(metrics_table(result.metrics))
    print(f"Run directory: {result.run_directory}")


def evaluate(config):
    """Measure a trained classifier on labelled examples."""
    from tfbert.training.evaluate import evaluate
    from tfbert.training.report import metrics_json, metrics_table

    metrics = evaluate(config)
    print(metrics_json(metrics) if config.json else metrics_table(metrics))


def predict(config):
    """Label texts: one JSON object a line, in the order of the input."""
    from tfbert.training.predict import predict

    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    for answer in predict(config):
        print(json.dumps(answer, ensure_ascii=not unicode), flush=True)


def vocab(config):
    """Learn a WordPiece vocabulary from text."""
    from tfbert.data.vocabulary import learn_vocabulary

    print(f"{len(learn_vocabulary(config)):,} word pieces: {config.output}")


def prepare(config):
    """Turn text into training records for pre-training."""
    from tfbert.data.dataset import summary_lines
    from tfbert.data.prepare import prepare

    print("\n".join(summary_lines(prepare(config))))
    print(f"Training records: {config.output}")


def inspect(config):
    """Show what is in a folder of training records."""
    from tfbert.data.inspection import inspect_lines

    for line in inspect_lines(config):
        print(line)


COMMANDS = {
    "finetune": (finetune, FinetuneConfig),
    "evaluate": (evaluate, EvaluateConfig),
    "predict": (predict, PredictConfig),
    "vocab": (vocab, VocabConfig),
    "prepare": (prepare, PrepareConfig),
    "inspect": (inspect, InspectConfig),
}

# Required options that are given without their name: `tfbert inspect DIR`.
POSITIONAL = {"inspect": "records"}


_CONFIG_HELP = (
    "Take options from this YAML file, such as the config.yaml of a run (with an --output of its "
    "own); the command line goes before the file."
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
        command.add_class_arguments(config_class, as_positional=name in POSITIONAL)
        if config_class is FinetuneConfig:
            command.add_argument("--config", metavar="FILE", help=_CONFIG_HELP)
        command.set_defaults(defaults.get(name, {}))
        commands.add_subcommand(name, command, help=function.__doc__)
    return parser


def parse(argv):
    """Returns the command's function and its validated configuration."""
    first = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    first.add_argument("command", nargs="?")
    first.add_argument("--config")
    defaults = {}
    try:
        known, _ = first.parse_known_args(argv)
        if known.config and known.command == "finetune":
            defaults["finetune"] = read_options(known.config, FinetuneConfig)
        parsed = build_parser(defaults).parse_args(_join_lists(argv))
    except argparse.ArgumentError as error:
        raise InputError(_one_line(error)) from error
    function, config_class = COMMANDS[parsed.command]
    options = vars(parsed[parsed.command])
    options.pop("config", None)
    return function, config_class(**options)


def _join_lists(argv):
    """`--input A B` as `--input '["A", "B"]'`, the way in which the parser reads lists."""
    command = next((word for word in argv if word in COMMANDS), None)
    kinds = {}
    if command:
        for name, kind in typing.get_type_hints(COMMANDS[command][1]).items():
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
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("tfbert: %(message)s"))
        logger.addHandler(handler)
