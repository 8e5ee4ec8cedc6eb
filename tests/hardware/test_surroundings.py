"""What Keras runs on, as options and the environment say, and what is hidden from it then."""

import sys

import pytest

from tfbert.errors import InputError
from tfbert.hardware import surroundings
from tfbert.hardware.surroundings import WithoutExtras, prepare, prepare_command


@pytest.fixture(autouse=True)
def own_finders(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))


def installed(monkeypatch, *packages):
    monkeypatch.setattr(surroundings, "_is_installed", lambda name: name in packages)


@pytest.mark.parametrize(
    ("environment", "option", "expected"),
    [
        ({}, None, "tensorflow"),
        ({}, "jax", "jax"),
        ({"KERAS_BACKEND": "jax"}, None, "jax"),
        ({"KERAS_BACKEND": "jax"}, "tensorflow", "tensorflow"),
        ({"KERAS_BACKEND": "torch"}, "jax", "jax"),
    ],
)
def test_the_option_goes_before_the_environment(monkeypatch, environment, option, expected):
    installed(monkeypatch, "tensorflow", "jax")
    prepare_command([], environment, option)
    assert environment["KERAS_BACKEND"] == expected


@pytest.mark.parametrize(
    ("environment", "option", "message"),
    [
        ({"KERAS_BACKEND": "torch"}, None, "KERAS_BACKEND is torch: .*--backend"),
        ({}, "jax", "JAX is not installed"),
        ({"KERAS_BACKEND": "jax"}, None, "JAX is not installed"),
    ],
)
def test_what_cannot_be_run_on_is_refused(monkeypatch, environment, option, message):
    installed(monkeypatch, "tensorflow", "torch")
    with pytest.raises(InputError, match=message):
        prepare_command([], environment, option)


@pytest.mark.parametrize(
    ("packages", "expected"),
    [(["jax"], "jax"), (["jax", "tensorflow"], None), ([], None)],
)
def test_without_tensorflow_keras_takes_jax(monkeypatch, packages, expected):
    installed(monkeypatch, *packages)
    environment = {}
    prepare(environment)
    assert environment.get("KERAS_BACKEND") == expected


def test_a_tpu_is_left_to_jax(monkeypatch):
    installed(monkeypatch, "tensorflow", "jax")
    environment = {"TF_PLUGGABLE_DEVICE_LIBRARY_PATH": "/lib/libtpu.so", "TPU_NAME": "local"}
    prepare_command([], environment, "jax")
    assert environment == {
        **{"TPU_NAME": "local", "KERAS_BACKEND": "jax"},
        **({"HOME": environment["HOME"]} if "HOME" in environment else {}),
    }


def found(finder, name, importer):
    """Whether an import of `name` in a module called `importer` goes on to other finders: by a
    statement, and by `importlib`."""
    answers = set()
    for statement in ("import {}", "import importlib; importlib.import_module({!r})"):
        sys.meta_path.insert(0, finder)
        try:
            exec(statement.format(name), {"__name__": importer})
        except ModuleNotFoundError as error:
            answers.add("is left out" not in str(error))
        finally:
            sys.meta_path.remove(finder)
    (answer,) = answers
    return answer


@pytest.fixture
def nowhere(monkeypatch):
    """TensorFlow and JAX are not imported yet, and cannot be."""
    for name in ("tensorflow", "jax"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    class Nowhere:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name in ("tensorflow", "jax"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Nowhere)


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("backend", "name", "importer", "expected"),
    [
        ("tensorflow", "jax", "keras.src.backend", False),
        ("tensorflow", "jax", "tensorflow.python.x", False),
        ("tensorflow", "tensorflow", "keras.src.backend", True),
        ("tensorflow", "jax", "tfbert.x", True),
        ("jax", "tensorflow", "keras.src.utils", False),
        ("jax", "tensorflow", "tensorboard.compat", False),
        ("jax", "tensorflow", "tfbert.io.object_store", True),
        ("jax", "jax", "keras.src.backend", True),
    ],
)
def test_what_is_hidden(backend, name, importer, expected):
    assert found(WithoutExtras(backend), name, importer) == expected


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(("version", "expected"), [("0.32.0", False), ("0.26.0", True)])
def test_keras_hub_imports_tensorflow_where_it_must(monkeypatch, version, expected):
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    assert found(WithoutExtras("jax"), "tensorflow", "keras_hub.src.utils") == expected
