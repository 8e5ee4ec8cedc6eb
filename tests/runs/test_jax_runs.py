"""Runs on JAX: compiled as often as there are shapes, and gone on with by either backend."""

import dataclasses
import importlib.metadata
import json
import pathlib
import sys

import numpy as np
import pytest
import yaml
from helpers.pretraining_run import scalars, stopped
from helpers.processes import finish, start

from tfbert.recovery.checkpoint_files import phase_folder
from tfbert.recovery.checkpoints import Checkpoints
from tfbert.runs.command_options import EvaluateConfig
from tfbert.runs.evaluate import evaluate
from tfbert.runs.outputs.pretrain_callbacks import PretrainingCurves
from tfbert.runs.pretrain import pretrain

pytest.importorskip("jax")

WORKER = pathlib.Path(__file__).parent / "jax_worker.py"


def on_jax(command, config, *update):
    """What `jax_worker.py` writes of a run."""
    folder = pathlib.Path(config.output).parent
    folder.mkdir(exist_ok=True)
    options, result = folder / "options.json", folder / "result.json"
    options.write_text(json.dumps(dataclasses.asdict(config)))
    finish(start([WORKER, command, options, result, *map(str, update)]), 240)
    return json.loads(result.read_text())


def final_state(run):
    """`{name: array}`: weights and slots after the last phase of a pre-training."""
    tensors = Checkpoints(phase_folder(pathlib.Path(run) / "checkpoints", 1)).newest().tensors
    return {k: v for k, v in tensors.items() if k.startswith(("model/", "optimizer/"))}


def assert_equal_states(one, other, bound):
    """Weights as a whole, and slots: a gradient that is 0 but for rounding has no digits itself."""
    assert one.keys() == other.keys()
    for group in ("model/", "optimizer/"):
        ours, theirs = (
            np.concatenate([np.ravel(state[k]) for k in one if k.startswith(group)], dtype=float)
            for state in (one, other)
        )
        assert np.linalg.norm(ours - theirs) <= bound * np.linalg.norm(ours), group


def test_a_run_of_tensorflow_goes_on_on_jax(pretrain_config, tmp_path):
    """In two phases; stopped in the first one."""
    expected = pretrain_config(output=str(tmp_path / "expected" / "run"))
    pretrain(expected)
    config = pretrain_config(output=str(tmp_path / "run"))
    with stopped(PretrainingCurves, 3):
        pretrain(config)
    result = on_jax("pretrain", config)
    assert result["compilations"] == [1, 1]
    assert not result["tensorflow"]
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics == result["metrics"]
    wanted = json.loads((tmp_path / "expected" / "run" / "metrics.json").read_text())
    assert metrics | {"seconds": 0} == pytest.approx(wanted | {"seconds": 0}, rel=1e-4)
    assert_equal_states(final_state(expected.output), final_state(config.output), 1e-5)
    ours, theirs = (
        scalars(pathlib.Path(each.output) / "logs" / "train", again=True)
        for each in (config, expected)
    )
    for name in ("loss", "gradient_norm", "mean_trust_ratio", "learning_rate"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name


@pytest.mark.slow
def test_a_run_of_jax_goes_on_on_tensorflow(pretrain_config, tmp_path):
    expected = pretrain_config(output=str(tmp_path / "expected" / "run"))
    on_jax("pretrain", expected)  # a new model begins with other numbers than on TensorFlow
    config = pretrain_config(output=str(tmp_path / "run"))
    assert "saved at update 6" in on_jax("pretrain", config, 6)["preempted"]
    pretrain(config)
    assert_equal_states(final_state(expected.output), final_state(config.output), 1e-5)
    record = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert record["resolved"]["backend"] == "jax"  # where it began
    assert record["versions"].keys() >= {"jax", "keras"}


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_run_that_was_stopped_ends_with_the_same_bits(pretrain_config, tmp_path, dropout):
    runs = [tmp_path / name / "run" for name in ("whole", "stopped")]
    whole, other = (pretrain_config(output=str(run), dropout=dropout) for run in runs)
    on_jax("pretrain", whole)
    for update in (2, 7):
        on_jax("pretrain", other, update)
    on_jax("pretrain", other)
    assert_equal_states(final_state(whole.output), final_state(other.output), 0)


@pytest.mark.slow
def test_fused_attention_is_the_same_training(pretrain_config, tmp_path):
    """In both phases; the rate of the rest stays, whose masks are the same ones."""
    plain, fused = (
        pretrain_config(
            output=str(tmp_path / form / "run"),
            dropout=0.1,
            attention_dropout=0.0,
            attention=form,
        )
        for form in ("plain", "fused")
    )
    for config in (plain, fused):
        assert on_jax("pretrain", config)["compilations"] == [1, 1]
    assert_equal_states(final_state(plain.output), final_state(fused.output), 1e-5)
    record = yaml.safe_load((tmp_path / "fused" / "run" / "config.yaml").read_text())
    assert [phase["attention"] for phase in record["resolved"]["phases"]] == ["fused", "fused"]


@pytest.mark.slow
def test_two_processes_are_one_device(pretrain_config, tmp_path):
    """`tfbert launch`, over gloo; their sum is rounded in another order."""
    whole, other = (pretrain_config(output=str(tmp_path / n / "run")) for n in ("one", "two"))
    on_jax("pretrain", whole)
    options = tmp_path / "options.yaml"
    options.write_text(yaml.safe_dump(dataclasses.asdict(other)))
    launch = ["-m", "tfbert", "launch", "--workers", "2", "--backend", "jax", "--"]
    command = [sys.executable, "-m", "tfbert", "pretrain", "--recipe", options]
    finish(start([*launch, *command], JAX_PLATFORMS="cpu"), 480)
    record = yaml.safe_load((tmp_path / "two" / "run" / "config.yaml").read_text())
    assert (record["resolved"]["replicas"], record["resolved"]["backend"]) == (2, "jax")
    assert_equal_states(final_state(whole.output), final_state(other.output), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"tokens_per_batch": 512}, {"replicas": 2, "per_device_batch_size": 2}]
)
def test_fine_tuning_compiles_at_most_four_programs(config, tmp_path, options):
    """And TensorFlow measures the same of its model."""
    made = config(output=str(tmp_path / "run"), precision="float32", dropout=0.0, **options)
    result = on_jax("finetune", made)
    assert 1 <= result["compilations"][0] <= 4
    found = evaluate(EvaluateConfig(model=made.output, progress=False))
    assert found["loss"] == pytest.approx(result["metrics"]["loss"], rel=1e-5)
    assert found["accuracy"] == result["metrics"]["accuracy"]


@pytest.mark.slow
def test_a_few_texts_are_learned_by_heart(config, data, tmp_path):
    options = {"epochs": 60, "learning_rate": 5e-3, "dropout": 0.0, "precision": "float32"}
    seen = str(data / "train.csv")
    made = config(output=str(tmp_path / "run"), eval_data=seen, early_stopping=0, **options)
    assert on_jax("finetune", made)["metrics"]["accuracy"] > 0.95


# A command's process, in which TensorFlow is installed.
COMMAND = """
import sys
from tfbert.cli import main
status = main()
assert "tensorflow" not in sys.modules
sys.exit(status)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.metadata.version("keras-hub") < "0.32", reason="this KerasHub imports TensorFlow"
)
def test_a_command_on_jax_imports_no_tensorflow(trained_run):
    words = ["--model", trained_run, "--json", "--no-progress"]
    command = ["-c", COMMAND, "evaluate", "--backend", "jax", *words]
    found = json.loads(finish(start(command, JAX_PLATFORMS="cpu"), 240))
    expected = json.loads((trained_run / "metrics.json").read_text())
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert found["accuracy"] == expected["accuracy"]
