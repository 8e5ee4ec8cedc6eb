"""What pip would install: nothing over what Google Colab has loaded."""

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
SETUP = configparser.RawConfigParser()
SETUP.read(REPOSITORY / "setup.cfg")


def requirements(text):
    """{name: requirement} of the lines of a file."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    found = [Requirement(line) for line in lines if line]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def pins(name):
    """{name: version} of a file of pinned versions."""
    found = requirements((REPOSITORY / name).read_text())
    versions = {name: str(requirement.specifier) for name, requirement in found.items()}
    assert all(version.startswith("==") for version in versions.values())
    return {name: version.removeprefix("==") for name, version in versions.items()}


INSTALLED = requirements(SETUP["options"]["install_requires"])
NOTEBOOKS = requirements(SETUP["options.extras_require"]["notebooks"])


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-colab.txt"])
def test_a_tested_set_has_a_version_of_all_that_is_needed(file):
    tested = pins(file)
    needed = INSTALLED | (NOTEBOOKS if "colab" in file else {})
    refused = {
        name: tested.get(name)
        for name, requirement in needed.items()
        if name not in tested or not requirement.specifier.contains(tested[name])
    }
    assert refused == {}


def test_without_tensorflow_the_rest_is_asked_for_alike():
    """`requirements-jax*.txt` are those of the package, without what brings TensorFlow."""
    wanted = requirements((REPOSITORY / "requirements-jax.txt").read_text())
    without = pins("requirements-jax-no-deps.txt")
    assert without.keys() == {"keras-hub", "keras-nlp"}
    for name, version in without.items():
        assert INSTALLED[name].specifier.contains(version)
    rest = INSTALLED.keys() - without.keys() - {"tensorflow", "tensorflow-text"}
    for name in rest:
        assert str(INSTALLED[name]) == str(wanted[name])


def test_a_tpu_on_jax_has_all_that_is_needed():
    tested = pins("requirements-tpu-jax.txt") | pins("requirements-jax-no-deps.txt")
    for name in INSTALLED.keys() - {"tensorflow", "tensorflow-text"}:
        assert INSTALLED[name].specifier.contains(tested[name]), name


def test_versions_that_are_refused():
    for name, refused, admitted in (
        ("tensorflow-text", ["2.19.0", "2.20.0", "2.22.0"], ["2.20.1", "2.21.1"]),
        ("tensorflow", ["2.19.1", "2.22.0"], ["2.20.0", "2.21.0"]),
        ("keras", ["3.12.4", "4.0.0"], ["3.13.0", "3.15.1"]),
        ("keras-hub", ["0.25.1"], ["0.26.0", "0.32.0"]),
    ):
        specifier = INSTALLED[name].specifier
        assert list(specifier.filter(refused)) == []
        assert list(specifier.filter(admitted)) == admitted
    pythons = SpecifierSet(SETUP["options"]["python_requires"])
    assert list(pythons.filter(["3.10.9", "3.11.0", "3.12.13", "3.13.15", "3.14.0"])) == [
        *("3.11.0", "3.12.13", "3.13.15")
    ]
    classifiers = re.findall(r"Python :: (3\.\d+)", SETUP["metadata"]["classifiers"])
    assert classifiers == ["3.11", "3.12", "3.13"]


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(sys.prefix, ".tfbert-test").exists() or "colab" not in sys.prefix,
    reason="needs what `scripts/test.sh --colab` installs",
)
def test_pip_replaces_nothing_in_colab(tmp_path):
    """`etils[epath]` may bring along one package that is new there."""
    report = tmp_path / "report.json"
    target = f"tfbert[notebooks] @ file://{REPOSITORY}"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--report", str(report)]
    subprocess.run([*command, "--quiet", target], check=True)
    installed = [item["metadata"]["name"] for item in json.loads(report.read_text())["install"]]
    assert set(installed) - {"importlib_resources"} <= {"tfbert"}
    assert (
        not {canonicalize_name(name) for name in installed} & pins("requirements-colab.txt").keys()
    )
