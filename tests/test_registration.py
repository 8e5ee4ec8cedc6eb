"""`.keras` files are read after `import tfbert` alone, whichever is imported first."""

import ast
import importlib
import os
import pathlib
import subprocess
import sys

import keras
import pytest
from helpers.optimizer_training import model_of
from helpers.small_models import make_classifier

import tfbert
from tfbert.registration import HOMES

ROOT = pathlib.Path(__file__).parents[1]


def test_every_registered_name_is_known():
    found = {}
    for path in (ROOT / "tfbert").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:
            for decorator in getattr(node, "decorator_list", ()):
                if "register_keras_serializable" in ast.unparse(decorator):
                    found[node.name] = module
    assert found == HOMES
    for name, home in HOMES.items():
        real = getattr(importlib.import_module(home), name)
        assert keras.saving.get_registered_object(f"tfbert>{name}") is real
        assert keras.saving.get_registered_name(real) == f"tfbert>{name}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two files: a stock model with LAMB and a schedule, and a classifier of the package's own."""
    path = tmp_path_factory.mktemp("files")
    schedule = tfbert.PhasedSchedule([tfbert.WarmupPolynomialDecay(0.1, 10)])
    model = model_of(tfbert.LossScaleOptimizer(tfbert.LAMB(schedule)))
    model.save(path / "stock.keras")
    classifier = make_classifier()
    classifier.compile(tfbert.AdamW(1e-3), "sparse_categorical_crossentropy")
    classifier.save(path / "classifier.keras")
    return path


FIND = "import importlib.util; assert importlib.util.find_spec('keras')"  # as other libraries do
BEGINNINGS = {
    "tfbert first": f"import tfbert, sys; assert 'keras' not in sys.modules; {FIND}; import keras",
    "keras first": "import keras, tfbert",
}


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=list(BEGINNINGS))
def test_a_fresh_process_reads_them(beginning, folder):
    """One process reads both; the optimizer's modules were not imported before."""
    program = f"""{beginning}
import sys
assert not [name for name in sys.modules if name.startswith(("tfbert.optimizers", "keras_hub"))]
model = keras.models.load_model("stock.keras")
inner = model.optimizer.inner_optimizer
print(type(model.optimizer).__module__, type(inner).__module__, type(inner._learning_rate).__name__)
model.save("again.keras")
model = keras.models.load_model("classifier.keras")
print(type(model).__module__, type(model.optimizer).__module__)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "tfbert.optimizers.loss_scale",
        "tfbert.optimizers.lamb",
        "PhasedSchedule",
        "tfbert.models.classifier",
        "tfbert.optimizers.adamw",
    ]
