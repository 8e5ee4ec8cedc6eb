import io
import logging
import subprocess
import sys

import pytest

import tfbert
from tfbert.cli import COMMANDS, POSITIONAL, main, parse
from tfbert.records.record_options import InspectConfig
from tfbert.runs.command_options import FinetuneConfig, LaunchConfig, StatusConfig
from tfbert.runs.glue.glue_options import OF_ONE_TASK


def run(*arguments):
    command = [sys.executable, "-m", "tfbert", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


EMBEDDED = "finetune --task embedded --output o"


def test_version():
    assert run("--version").stdout == f"tfbert {tfbert.__version__}\n"


def test_help_does_not_wait_for_tensorflow():
    code = (
        "import sys, tfbert.cli\n"
        "for command in tfbert.cli.COMMANDS:\n"
        "    try: tfbert.cli.main([command, '--help'])\n"
        "    except SystemExit as stop: assert stop.code == 0\n"
        "slow = {'tensorflow', 'keras', 'sklearn'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_option(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    words = " ".join(capsys.readouterr().out.split())
    fields = set(COMMANDS[command][1].__dataclass_fields__)
    if command == "glue":  # it has most of the options of `finetune` in the place of a field
        fields |= set(FinetuneConfig.__dataclass_fields__) - OF_ONE_TASK
        fields -= {"options"}
    for field in fields:
        dashes = "" if POSITIONAL.get(command) == field else "--"
        assert f"{dashes}{field.replace('_', '-')}" in words
    assert "As in `RunOptions`" not in words
    assert ("Go on with the unfinished run" in words) == (command in ("finetune", "pretrain"))


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


def test_the_command_line_goes_before_the_configuration_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("task: embedded\noutput: o\nepochs: 7\nseed: 3\nversions: {keras: '3'}\n")
    _, config = parse(["finetune", "--config", str(path), "--seed", "4"])
    assert (config.epochs, config.seed) == (7, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("sing", "sing is not a command; commands are finetune, "),
        ("finetun --help", "finetun is not a command; did you mean finetune?"),
        ("finetune --task embedded", "--output must be given"),
        ("finetune --output o --task x", "--task is 'x': it must be one of embedded, "),
        (f"{EMBEDDED} --epochs x", "--epochs is 'x': it must be a whole number or left out"),
        (f"{EMBEDDED} --epochs 2.5", "--epochs is 2.5: it must be a whole number or left out"),
        (f"{EMBEDDED} --epochs 0", "--epochs is 0: it must be at least 1"),
        (f"{EMBEDDED} --weight-decay -1", "--weight-decay is -1.0: it must be at least 0"),
        (f"{EMBEDDED} --text-colum x", "`tfbert finetune`; did you mean --text-column?"),
        (f"{EMBEDDED} --out o", "did you mean --output?"),
        (f"{EMBEDDED} --lr 1", "did you mean --learning-rate?"),
        (f"{EMBEDDED} --batch-size 1", "did you mean --global-batch-size?"),
        (f"{EMBEDDED} --num_train_epochs 1", "did you mean --epochs?"),
        (f"{EMBEDDED} --precision fp16", "did you mean float16?"),
        (f"{EMBEDDED} --learning-rate -1e-4", "--learning-rate is -0.0001: it must be above 0"),
        ("finetune --output o --task embeded", "did you mean embedded?"),
        ("finetune --resume --output nothing", "--resume: nothing holds no run"),
        ("launch --workers 2 tfbert finetune --seed 1", "write `--` before the command"),
        ("pretrain --recipe quik", "did you mean quick?"),
        ("predict --model runs/nope", "model runs/nope: no such directory"),
        (f"{EMBEDDED} more", "more is not an option of `tfbert finetune`"),
        ("predict --model m --bogus=1", "--bogus is not an option of `tfbert predict`; `tfbert"),
        ("finetune --config /nonexistent.yaml", "/nonexistent.yaml"),
        ("finetune --config", "--config: expected one argument"),
        ("evaluate --model m --config x", "--config is not an option of `tfbert evaluate`"),
        ("vocab --output o --input", "--input: expected at least one argument"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(capsys, arguments, message):
    assert main(arguments.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("tfbert: error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err


GOOD = {
    "finetune": "--task csv --data d --model m --output o",
    "prepare": "--input i --output o --vocab v",
    "pretrain": "--recipe quick --data d --output o",
}


@pytest.mark.parametrize(
    ("command", "words", "value"),
    [
        ("prepare", "--input=x", ["x"]),
        ("prepare", "--input - [a] c=1 2", ["-", "[a]", "c=1", "2"]),
        ("prepare", "--lengths 128 64", [128, 64]),
        ("prepare", "--lengths [128,64]", [128, 64]),
        ("prepare", "--lengths 128,64", [128, 64]),
        ("pretrain", "--stage-shares null", None),
        ("finetune", "--class-weights balanced", "balanced"),
        ("finetune", "--class-weights 1 2.5", [1.0, 2.5]),
        ("finetune", "--class-weights [1,2.5]", [1.0, 2.5]),
        ("finetune", "--learning-rate 1e-4", 1e-4),
        ("finetune", "--learning-rate=null", None),
        ("finetune", "--weight-decay 0", 0.0),
        ("finetune", "--epochs 1_000", 1_000),
        ("finetune", "--text-column null", None),
        ("finetune", "--label-column 3", "3"),
        ("finetune", "--jit-compile true", True),
        ("finetune", "--overwrite", True),
        ("finetune", "--overwrite --no-overwrite", False),
    ],
)
def test_what_the_words_of_an_option_say(command, words, value):
    _, config = parse([command, *GOOD[command].split(), *words.split()])
    name = words.replace("=", " ").split()[0].removeprefix("--")
    said = getattr(config, name.replace("-", "_"))
    assert (said, type(said)) == (value, type(value))


def test_options_without_a_name_and_the_command_after_two_dashes():
    assert parse(["status", "run", "--json"])[1] == StatusConfig(run="run", json=True)
    assert parse(["inspect", "--seed", "3", "records"])[1] == InspectConfig("records", seed=3)
    words = ["tfbert", "finetune", "--workers", "3", "--", "x"]
    assert parse(["launch", "--workers", "2", "--", *words])[1] == LaunchConfig(2, words)


def test_the_name_alone_shows_the_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 0
    assert "finetune" in capsys.readouterr().out
