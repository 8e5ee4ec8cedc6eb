import contextlib
import dataclasses
import json

import pytest
import yaml

from tfbert.errors import InputError, MachineError
from tfbert.io.locks import LOCK_FILE, is_held
from tfbert.io.whole import write_bytes
from tfbert.options import read_options
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.recovery.checkpoint_files import write_checkpoint
from tfbert.recovery.preemption import Preempted
from tfbert.runs.command_options import FinetuneConfig
from tfbert.runs.outputs.run_directory import RunDirectory, read_run_config
from tfbert.runs.outputs.status import STATUS_FILE, read_status

CONFIG = FinetuneConfig(task="embedded", output="out")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("tfbert.io.locks._SETTLE_SECONDS", 0)


def write_run(run, **metrics):
    with run.writing(CONFIG, labels=["a", "b"]):
        (run.checkpoints / "last.weights.h5").write_text("weights")
        run.write_metrics(metrics)


def fail(run, config=CONFIG):
    with pytest.raises(ZeroDivisionError), run.writing(config):
        raise ZeroDivisionError


def test_a_new_directory_is_made_with_the_configuration(place):
    run = RunDirectory(place / "deep" / "run")
    run.check_free(overwrite=False)
    write_run(run, accuracy=0.5)
    content = yaml.safe_load(run.config.read_text())
    assert content["labels"] == ["a", "b"]
    assert content["versions"].keys() >= {"tensorflow", "keras", "python", "tfbert"}
    assert FinetuneConfig(**read_options(run.config, FinetuneConfig)) == CONFIG
    assert read_run_config(run.path) == content
    assert json.loads(run.metrics.read_text()) == {"accuracy": 0.5}


def test_another_run_is_only_replaced_on_demand(tmp_path):
    run = RunDirectory(tmp_path)
    write_run(run, accuracy=0.5)
    (tmp_path / "notes.txt").write_text("the user's own")
    with pytest.raises(InputError, match=r"holds a finished run.*--overwrite"):
        run.check_free(overwrite=False)
    run.check_free(overwrite=True)
    with run.writing(CONFIG):
        assert not run.metrics.exists()
        assert not any(run.checkpoints.iterdir())
        assert is_held(tmp_path)
        left = {path.name for path in tmp_path.iterdir()} - {LOCK_FILE, STATUS_FILE, ".replaced"}
        assert left == {"notes.txt", "config.yaml", "checkpoints"}
    assert not (run.path / ".replaced").exists()
    assert not is_held(tmp_path)


@pytest.mark.parametrize("error", [MachineError("disk full"), KeyboardInterrupt()])
def test_a_replaced_run_comes_back_when_the_new_one_fails(place, error):
    run = RunDirectory(place)
    write_run(run, accuracy=0.5)
    with pytest.raises(type(error)), run.writing(CONFIG):
        (run.checkpoints / "last.weights.h5").write_text("new")
        run.model.mkdir()
        (run.model / "config.json").write_text("{}")
        raise error
    assert json.loads(run.metrics.read_text()) == {"accuracy": 0.5}
    assert (run.checkpoints / "last.weights.h5").read_text() == "weights"
    assert not run.model.exists()
    assert not (run.path / ".replaced").exists()


@pytest.mark.parametrize("error", [MachineError("disk full"), KeyboardInterrupt(), Preempted()])
def test_a_new_run_with_a_checkpoint_stays_and_goes_on(tmp_path, error):
    run = RunDirectory(tmp_path)
    write_run(run, accuracy=0.5)
    with pytest.raises(type(error)), run.writing(CONFIG):
        write_checkpoint(run.checkpoints / "step-0000000003", {}, {})
        raise error
    assert not run.metrics.exists()
    assert run.resumes(CONFIG)
    expected = {MachineError: "failed", KeyboardInterrupt: "stopped", Preempted: "preempted"}
    assert read_status(tmp_path)["phase"] == expected[type(error)]
    with run.writing(CONFIG, resumes=True):
        assert read_status(tmp_path)["alive"]
        assert read_status(tmp_path)["checkpoint"]["step"] == 3
        run.write_metrics({"accuracy": 0.7})
    assert read_status(tmp_path)["phase"] == "finished"
    assert json.loads(run.metrics.read_text()) == {"accuracy": 0.7}
    assert not (run.path / ".replaced").exists()


def test_only_the_same_options_go_on(tmp_path):
    run = RunDirectory(tmp_path)
    assert not run.resumes(CONFIG)
    with pytest.raises(InputError, match="holds no run"):
        run.resumes(dataclasses.replace(CONFIG, resume=True))
    fail(run)
    assert run.resumes(CONFIG)
    free = {"output": "b", "replicas": 2, "progress": False, "keep_checkpoints": 5, "resume": True}
    assert run.resumes(dataclasses.replace(CONFIG, **free))
    assert not run.resumes(dataclasses.replace(CONFIG, overwrite=True))
    changed = dataclasses.replace(CONFIG, learning_rate=0.1, epochs=2)
    message = "--epochs was None, is 2; --learning-rate was None, is 0.1; go on with its own"
    with pytest.raises(InputError, match=message):
        run.resumes(changed)
    write_run(RunDirectory(tmp_path / "other"), accuracy=0.5)
    assert not RunDirectory(tmp_path / "other").resumes(CONFIG)
    with pytest.raises(InputError, match="holds no unfinished run: this one is finished"):
        RunDirectory(tmp_path / "other").resumes(dataclasses.replace(CONFIG, resume=True))


def test_phases_are_compared_option_by_option(tmp_path):
    run = RunDirectory(tmp_path)
    phase = {"steps": 4, "global_batch_size": 8, "learning_rate": 0.1}
    config = PretrainConfig(data="d", output="o", phases=[phase, {**phase, "steps": 2}])
    fail(run, config)
    assert next(iter(yaml.safe_load(run.config.read_text()))) == "data"

    def changed(**options):
        return dataclasses.replace(config, phases=[phase, {**phase, "steps": 2, **options}])

    assert run.resumes(config)
    free = changed(per_device_batch_size=2)
    assert run.resumes(dataclasses.replace(free, device_tokens=256, checkpoint_steps=3))
    with pytest.raises(InputError, match=r"--phases\.1\.steps was 2, is 3; go on"):
        run.resumes(changed(steps=3))
    with pytest.raises(InputError, match=r"--phases\.1\.steps was 2, is None"):
        run.resumes(dataclasses.replace(config, phases=[phase]))


def test_two_at_once_are_refused(tmp_path):
    run = RunDirectory(tmp_path)
    with run.writing(CONFIG):
        with pytest.raises(InputError, match="at work"):
            run.resumes(CONFIG)
        with pytest.raises(InputError, match="at work"), RunDirectory(tmp_path).writing(CONFIG):
            pass
        assert run.config.exists()


def test_after_a_kill_the_older_whole_run_is_the_one_to_keep(place):
    run = RunDirectory(place)
    write_run(run, accuracy=0.5)
    killed = run._replacing(CONFIG, {})
    killed.__enter__()
    fail(run)
    assert json.loads(run.metrics.read_text()) == {"accuracy": 0.5}


def test_a_first_run_that_fails_leaves_what_it_has(place):
    run = RunDirectory(place)
    with pytest.raises(ZeroDivisionError), run.writing(CONFIG):
        (run.checkpoints / "last.weights.h5").write_text("new")
        raise ZeroDivisionError
    assert (run.checkpoints / "last.weights.h5").exists()


def replace_run(run, **metrics):
    """As `write_run`, without the lock and the status, which a thread writes when it likes."""
    with run._replacing(CONFIG, {}):
        write_bytes(run.checkpoints / "last.weights.h5", b"weights")
        run.write_metrics(metrics)
    with contextlib.suppress(OSError):
        run._replaced.drop()


@pytest.mark.parametrize("writes", range(20))
def test_a_machine_switched_off_at_any_write_loses_no_run(object_store, writes):
    run = RunDirectory("gs://bucket/run")
    replace_run(run, accuracy=0.5)
    write_bytes(run.model / "weights", b"old")
    object_store.writes_left = writes
    with contextlib.suppress(KeyboardInterrupt):
        replace_run(run, accuracy=0.75)
    if object_store.writes_left == 0:
        # Nothing could be put back either: a later process begins another run, and gives up.
        object_store.writes_left = None
        later = RunDirectory("gs://bucket/run")
        with pytest.raises(ZeroDivisionError), later._replacing(CONFIG, {}):
            raise ZeroDivisionError
    assert json.loads(run.metrics.read_text()) == {"accuracy": 0.5 if writes < 8 else 0.75}
    assert (run.model / "weights").exists() == (writes < 8)
    assert run.config.exists()
    assert (run.checkpoints / "last.weights.h5").read_text() == "weights"
    assert not (run.path / ".replaced").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [b", "damaged: "),
        (b"\xff", "damaged: "),
        (b"- 1", "it names no task"),
        (b"", "it names no task"),
        (b"task: foo", "it names no task"),
    ],
)
def test_a_damaged_record_is_named(tmp_path, content, message):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_run_config(tmp_path)


def test_what_is_no_run_is_never_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="holds files that are not a run"):
        RunDirectory(tmp_path).check_free(overwrite=True)
    with pytest.raises(InputError, match="is a file"):
        RunDirectory(tmp_path / "thesis.tex").check_free(overwrite=True)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path, message in (
        (tmp_path / "file" / "run", "file is a file"),
        (tmp_path / ("x" * 300), "cannot be written"),
    ):
        with pytest.raises(InputError, match=message):
            RunDirectory(path).check_free(overwrite=False)
