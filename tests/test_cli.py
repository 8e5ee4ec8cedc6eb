import io
import logging
import subprocess
import sys

import pytest

import tfbert
from tfbert.cli import COMMANDS, POSITIONAL, main, parse


def run(*arguments):
    command = [sys.executable, "-m", "tfbert", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_version():
    assert run("--version").stdout == f"tfbert {tfbert.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option_and_does_not_wait_for_tensorflow(command):
    code = (
        "import sys, tfbert.cli\n"
        f"try: tfbert.cli.main([{command!r}, '--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "slow = {'tensorflow', 'keras', 'sklearn'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for field in COMMANDS[command][1].__dataclass_fields__:
        dashes = "" if POSITIONAL.get(command) == field else "--"
        assert f"{dashes}{field.replace('_', '-')}" in done.stdout


def test_messages_go_to_what_is_standard_error_now(monkeypatch):
    for message in ("first", "second"):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        assert main(["nosuch"]) == 2
        logging.getLogger("tfbert").info(message)
        assert stream.getvalue().endswith(f"tfbert: {message}\n")
        stream.close()


def test_the_package_offers_what_it_lists():
    for name in tfbert.__all__:
        assert getattr(tfbert, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Bert'"):
        tfbert.Bert  # noqa: B018


def test_options_reach_the_configuration():
    required = ["--task", "csv", "--data", "d", "--model", "m", "--output", "o"]
    lists = ["--text-column", "review", "--class-weights", "[1, 2.5]"]
    switches = ["--freeze-layers=2", "--no-progress", "--overwrite"]
    function, config = parse(["finetune", *required, *lists, *switches])
    assert function is COMMANDS["finetune"][0]
    assert (config.text_column, config.class_weights) == ("review", [1.0, 2.5])
    assert (config.freeze_layers, config.progress, config.overwrite) == (2, False, True)


def test_the_command_line_goes_before_the_configuration_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("task: embedded\noutput: o\nepochs: 7\nseed: 3\nversions: {keras: '3'}\n")
    _, config = parse(["finetune", "--config", str(path), "--seed", "4"])
    assert (config.epochs, config.seed) == (7, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "to be one of {finetune"),
        (["train"], "invalid choice: 'train'"),
        (["finetune", "--task", "embedded"], "required: --output"),
        (["finetune", "--output", "o", "--task", "x"], "--task cannot be 'x'"),
        (["finetune", "--output", "o", "--task", "embedded", "--epochs", "x"], "--epochs cannot"),
        (["finetune", "--output", "o", "--task", "embedded", "--epochs", "0"], "at least 1"),
        (["predict", "--model", "m", "--bogus", "1"], "unrecognized arguments: --bogus"),
        (["finetune", "--config", "/nonexistent.yaml"], "/nonexistent.yaml"),
        (["finetune", "--config"], "--config: expected one argument"),
        (["evaluate", "--model", "m", "--config", "x"], "unrecognized arguments: --config"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(capsys, arguments, message):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("tfbert: error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err


def test_lists_of_values():
    required = ["--output", "o", "--vocab", "v"]
    _, config = parse(
        ["prepare", "--input", "a b", "-", "c=d", *required, "--lengths", "128", "64"]
    )
    assert (config.input, config.lengths) == (["a b", "-", "c=d"], [128, 64])
    _, config = parse(["prepare", "--input=x", "y", *required])
    assert (config.input, config.lengths) == (["x", "y"], [128])


def test_a_list_needs_a_value(capsys):
    assert main(["vocab", "--output", "o", "--input"]) == 2
    assert "--input is []: it must be one path or more" in capsys.readouterr().err
