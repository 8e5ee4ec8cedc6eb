"""The README's first command, in the environment that `scripts/test.sh` has set up."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def bash(*arguments, **environment):
    variables = {**os.environ, "VIRTUAL_ENV": sys.prefix, **environment}
    variables["PATH"] = f"{sys.prefix}/bin:{variables['PATH']}"
    return subprocess.run(["bash", *arguments], env=variables, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(sys.prefix, ".tfbert-dev").exists(), reason="needs what scripts/test.sh installs"
)
def test_the_quick_start(tmp_path):
    done = bash(str(REPOSITORY / "scripts" / "quickstart.sh"), str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "setup: installing" not in done.stderr
    assert "Accuracy on 400 sentences that it was not trained on" in done.stdout
    scores = [
        float(line.split()[-1])
        for line in done.stdout.splitlines()
        if line.startswith(("  this BERT", "  TF-IDF", "  always"))
    ]
    bert, tf_idf, majority = scores
    assert majority == 0.5
    assert 0.6 < tf_idf < 0.9
    assert bert > tf_idf + 0.05
    assert len(re.findall(r"  (?:posi|nega)tive \([01]\.\d\d\): ", done.stdout)) == 3
    assert f"tensorboard --logdir {tmp_path}/run/classifier/logs" in done.stdout


def test_tensorboard_starts():
    """With setuptools from 82 on it would not."""
    command = [sys.executable, "-m", "tensorboard.main", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^2\.\d+\.\d+$", done.stdout, re.M)


def without_python(tmp_path, *arguments):
    """What setup.sh does where each Python on the path fails, as pyenv's stand-ins may."""
    for name in ("python3.13", "python3.12", "python3.11", "python3", "python"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "setup.sh").write_text((REPOSITORY / "scripts" / "setup.sh").read_text())
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "VIRTUAL_ENV": "", "HOME": str(tmp_path)}
    command = ["bash", "-uc", f'. {scripts}/setup.sh "$@"', "bash", *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "status", "needed"),
    [
        (["base"], 2, "3.11, 3.12 or 3.13"),
        (["test", "colab"], 69, "3.13"),
        (["test", "3.12"], 69, "3.12"),
    ],
)
def test_an_unsuitable_python_is_one_line(tmp_path, arguments, status, needed):
    done = without_python(tmp_path, *arguments)
    assert done.returncode == status
    assert done.stderr == f"setup: Python {needed} is needed and none is on PATH\n"


def test_the_representative_tests_exist():
    names = (REPOSITORY / "tests" / "representative.txt").read_text().split()
    assert names == sorted(set(names))
    assert [name for name in names if not (REPOSITORY / name).exists()] == []
