import logging
import os
import subprocess
import sys

import keras  # noqa: F401  (TensorFlow's, as in a notebook that began without `begin`)
import pytest

from tfbert.errors import InputError
from tfbert.notebook import hardware, session

QUIET = """
import logging, warnings
from tfbert.notebook.session import begin
begin(progress={progress})
warnings.warn("of a library")
logging.getLogger("absl").warning("of absl")
logging.getLogger("tensorflow").setLevel(logging.INFO)  # as it does by itself in a notebook
logging.getLogger("tensorflow").warning("of TensorFlow")
logging.getLogger("tfbert").info("what it does")
logging.getLogger("tfbert").warning("what matters")
import sys
assert "tensorflow" not in sys.modules
"""


@pytest.mark.parametrize("progress", [True, False])
def test_only_tfbert_speaks(progress):
    command = [sys.executable, "-c", QUIET.format(progress=progress)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
    assert done.stderr == ""
    assert done.stdout == "what it does\n" * progress + "what matters\n"


ON_A_TPU = """
import os
os.environ["TPU_ACCELERATOR_TYPE"] = "v5litepod-1"
from tfbert.notebook.session import begin
begin()
import keras, sys
assert keras.backend.backend() == "jax"
"""


def test_on_a_tpu_runtime_keras_runs_on_jax():
    pytest.importorskip("jax")
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    command = [sys.executable, "-c", ON_A_TPU]
    subprocess.run(command, check=True, env={**environment, "JAX_PLATFORMS": "cpu"})


def test_where_that_is_too_late_there_is_one_line(monkeypatch):
    monkeypatch.setattr(session, "is_tpu_runtime", lambda: True)
    with pytest.raises(InputError, match="restart the runtime") as error:
        session.begin()
    assert "\n" not in str(error.value)
    monkeypatch.setattr(hardware, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="Change runtime type > T4 GPU") as error:
        session.begin()
    assert "\n" not in str(error.value)
    assert logging.getLogger("tfbert").propagate


def test_a_notebook_shows_an_error_of_ours_as_one_line():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shown = []
    shell._showtraceback = lambda kind, value, lines: shown.append(lines)
    try:
        shell.run_cell("from tfbert.errors import InputError\nraise InputError('no such file')")
    finally:
        InteractiveShell.clear_instance()
    assert shown == [["InputError: no such file"]]
