"""`scripts/cloud_tpu.py`: what it refuses, what it fills in, and what it hands to SkyPilot."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
TASK = REPOSITORY / "scripts" / "cloud_tpu.yaml"
OPTIONS = ["--accelerator", "v5litepod-4", "--region", "us-west4", "--hours", "2"]
COMMAND = ["finetune", "--task", "sst2", "--output", "gs://bucket/run"]
UNSAFE = ["two words", "$(touch made)", "`touch made`", "'", '"', "; touch made", "*", "line\nline"]


@pytest.fixture(scope="module")
def script():
    """scripts/cloud_tpu.py as a module."""
    specification = importlib.util.spec_from_file_location("cloud_tpu", TASK.with_suffix(".py"))
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """A stand-in for `sky` on PATH: a function that returns its (arguments, task), or None.

    It ends with the exit status in the variable SKY_STATUS.
    """
    record = tmp_path / "launched.json"
    program = tmp_path / "bin" / "sky"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        f"json.dump([sys.argv[1:], open(sys.argv[-1]).read()], open({str(record)!r}, 'w'))\n"
        "sys.exit(int(os.environ.get('SKY_STATUS', 0)))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def read():
        if not record.exists():
            return None
        arguments, text = json.loads(record.read_text())
        return arguments, yaml.safe_load(text)

    return read


@pytest.mark.parametrize(
    ("options", "command", "message"),
    [
        ([], [], "write the tfbert command behind `--`"),
        ([], ["finetun", *COMMAND[1:]], "write the tfbert command behind `--`"),
        ([], COMMAND[:3], "needs --output gs://"),
        ([], [*COMMAND[:3], "--output"], "--output : the TPU's disk vanishes with it"),
        ([], [*COMMAND[:3], "--output", "runs/a"], "--output runs/a: the TPU's disk vanishes"),
        ([], [*COMMAND, "--output=/tmp/a"], "--output /tmp/a: the TPU's disk vanishes"),
        (["--accelerator", "v9-8"], COMMAND, "--accelerator v9-8: no Cloud TPU"),
        (["--accelerator", "v5litepod-16"], COMMAND, "--accelerator v5litepod-16: 4 hosts"),
        (["--region", "us-west4/*"], COMMAND, "--region us-west4/*: not a region"),
        (["--name", "No name"], COMMAND, "--name No name: small letters"),
        ([], COMMAND, "give --yes"),  # no terminal
    ],
)
def test_refused_in_one_line(script, launched, capsys, options, command, message):
    assert script.main([*OPTIONS, *options, "--", *command]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert message in line
    assert launched() is None


@pytest.mark.parametrize(
    "options", [["--hours", "0"], ["--hours", "nan"], ["--hours", "long"], ["--max-hourly-cost=-1"]]
)
def test_wrong_numbers(script, capsys, options):
    assert script.main([*OPTIONS, *options, "--", *COMMAND]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cloud_tpu: error: {options[0].partition('=')[0]}: must be a number")


@pytest.mark.parametrize(
    ("options", "named"),
    [(OPTIONS[:-2], "--hours"), ([*OPTIONS, "--spots"], "--spots"), ([*OPTIONS, "extra"], "extra")],
)
def test_wrong_options_are_one_line(script, capsys, options, named):
    assert script.main([*options, "--", *COMMAND]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cloud_tpu: error: ") and named in line


def test_no_skypilot(script, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert script.main([*OPTIONS, "--yes", "--", *COMMAND]) == 2
    assert "error: sky is not on PATH: pip install" in capsys.readouterr().err


def test_it_fills_in_and_launches(script, launched, capsys, monkeypatch):
    monkeypatch.setenv("SKY_STATUS", "3")
    begin = time.time()
    options = [*OPTIONS, "--spot", "--max-hourly-cost", "3", "--name", "first", "--yes"]
    assert script.main([*options, "--", *COMMAND]) == 3
    arguments, task = launched()
    assert arguments[:-1] == ["jobs", "launch", "--yes"]
    assert not Path(arguments[-1]).exists()
    assert (task["name"], task["workdir"]) == ("first", str(REPOSITORY))
    assert task["resources"] == {
        **yaml.safe_load(TASK.read_text())["resources"],
        "infra": "gcp/us-west4",
        "accelerators": "tpu-v5litepod-4",
        "accelerator_args": {"runtime_version": "v2-alpha-tpuv5-lite"},
        "use_spot": True,
        "max_hourly_cost": 3.0,
    }
    assert begin + 7199 <= int(task["envs"]["TFBERT_UNTIL"]) <= time.time() + 7201
    shown, said = capsys.readouterr()
    assert yaml.safe_load(shown) == task
    assert "about $4.80 an hour (list price on demand" in said
    assert "at most about $6.00" in said


def test_a_dry_run_shows_and_launches_nothing(script, launched, capsys):
    assert script.main([*OPTIONS, "--dry-run", "--", *COMMAND]) == 0
    task = yaml.safe_load(capsys.readouterr().out)
    assert task["resources"]["use_spot"] is False
    assert task["resources"]["max_hourly_cost"] == 4.8  # four chips at 1.20
    assert launched() is None


@pytest.mark.parametrize(
    ("options", "setup"),
    [
        ([], "bash scripts/setup_tpu_vm.sh"),
        (["--backend", "jax"], "bash scripts/setup_tpu_vm.sh jax"),
        (["--backend=jax"], "bash scripts/setup_tpu_vm.sh jax"),
        (["--backend", "jax", "--backend", "tensorflow"], "bash scripts/setup_tpu_vm.sh"),
    ],
)
def test_a_command_on_jax_has_its_own_setup(script, capsys, options, setup):
    assert script.main([*OPTIONS, "--dry-run", "--", *COMMAND, *options]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["setup"] == setup


@pytest.mark.parametrize(
    ("seconds", "program", "status"),
    [(60, "exit 75", 75), (0, "", 124), (-5, "", 124), (1, "exec sleep 20", 124)],
)
def test_what_runs_on_the_machine(script, launched, tmp_path, seconds, program, status):
    """The job's own shell lines, with a stand-in for `tfbert` in the home directory."""
    script.main([*OPTIONS, "--yes", "--", *COMMAND, *UNSAFE])
    _, task = launched()
    stand_in = tmp_path / "tfbert-venv" / "bin" / "tfbert"
    stand_in.parent.mkdir(parents=True)
    stand_in.write_text(f'#!/bin/bash\nprintf "%s\\0" "$@" >arguments\n{program}\n')
    stand_in.chmod(0o755)
    until = str(int(time.time()) + seconds)
    done = subprocess.run(
        ["bash", "-c", task["run"]],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "TFBERT_UNTIL": until},
        timeout=15,
    )
    assert done.returncode == status
    assert not (tmp_path / "made").exists()
    if seconds > 0:
        arguments = (tmp_path / "arguments").read_text().split("\0")[:-1]
        assert arguments == [*COMMAND, *UNSAFE]
    else:
        assert not (tmp_path / "arguments").exists()


SCHEMA = """
import sys, yaml, sky
from sky.utils import common_utils, schemas
for path in sys.argv[1:]:
    config = yaml.safe_load(open(path))
    common_utils.validate_schema(config, schemas.get_task_schema())
    common_utils.validate_schema(config["resources"], schemas.get_resources_schema())
task = sky.Task.from_yaml(sys.argv[-1])
(resources,) = task.resources
assert resources.accelerators == {"tpu-v5litepod-4": 1} and resources.use_spot, resources
assert resources.max_hourly_cost == 4.8 and resources.region == "us-west4"
assert resources.job_recovery["recover_on_exit_codes"] == [75], resources.job_recovery
assert resources.autostop_config.down and resources.autostop_config.idle_minutes == 5
for part, key in ((config, "max_cost"), (config["resources"], "hourly_cost")):
    try:
        sky.Task.from_yaml_config({**config, key: 1} if part is config
                                  else {**config, "resources": {**part, key: 1}})
    except ValueError:
        continue
    raise AssertionError(f"{key} is not refused")
"""


@pytest.mark.slow
def test_skypilot_reads_it(script, capsys, tmp_path):
    """Against the schema of the SkyPilot that is installed (the extra `cloud`)."""
    if not importlib.util.find_spec("sky"):
        pytest.skip("SkyPilot is not installed")
    script.main([*OPTIONS, "--spot", "--dry-run", "--", *COMMAND, *UNSAFE])
    filled = tmp_path / "filled.yaml"
    filled.write_text(capsys.readouterr().out)
    environment = {**os.environ, "HOME": str(tmp_path)}  # it writes into ~/.sky
    command = [sys.executable, "-c", SCHEMA, TASK, filled]
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
