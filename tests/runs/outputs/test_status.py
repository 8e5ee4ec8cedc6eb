import json
import subprocess
import sys
import time

import pytest

from tfbert.cli import main
from tfbert.errors import InputError
from tfbert.io.locks import RunLock
from tfbert.recovery.checkpoint_files import last_written, write_checkpoint
from tfbert.runs.outputs import status as module
from tfbert.runs.outputs.status import STATUS_FILE, RunStatus, read_status, status_lines

RUNNING = {
    "phase": "training",
    "host": "here",
    "pid": 7,
    "updated": 1000.0,
    "alive": True,
    "step": 1200,
    "steps": 5000,
    "epoch": 1,
    "epochs": 3,
    "metrics": {"loss": 0.5, "accuracy": 0.75},
    "steps_per_second": 2.0,
    "seconds_left": 3800.0,
    "checkpoint": {"step": 1000, "time": 940.0},
}


def test_it_reads_as_text():
    assert status_lines("runs/a", RUNNING, 1003.9) == [
        "runs/a: training, alive",
        "update 1,200 of 5,000, epoch 2 of 3",
        "loss 0.5000, accuracy 0.7500",
        "2 updates a second, 1 h 3 min left",
        "last checkpoint: update 1,000, 1 min 3 s ago",
        "process 7 on here, last heard of 3 s ago",
    ]


def test_of_pre_training_it_names_the_phase():
    status = {k: v for k, v in RUNNING.items() if k not in ("epoch", "epochs")}
    lines = status_lines("runs/a", {**status, "recipe_phase": 2, "recipe_phases": 3}, 1003.9)
    assert lines[1] == "update 1,200 of 5,000, phase 2 of 3"


def test_a_killed_run_is_told_from_one_that_ended():
    killed = status_lines("a", {**RUNNING, "alive": False}, 1000)[0]
    assert killed.startswith("a: not alive, killed while training: start it again")
    failed = {**RUNNING, "alive": False, "phase": "failed", "message": "diverged", "epochs": None}
    lines = status_lines("a", failed, 1000)
    assert lines[0] == "a: failed"
    assert "diverged" in lines
    assert not any("left" in line for line in lines)


def test_a_run_is_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WRITE_SECONDS", 0.01)
    status = RunStatus(tmp_path)
    assert read_status(tmp_path)["phase"] == "starting"
    with RunLock(tmp_path):
        status.update(phase="training", step=3)
        until = time.time() + 30
        while read_status(tmp_path).get("step") != 3:
            assert time.time() < until
        assert read_status(tmp_path)["alive"]
    status.close("finished")
    status = read_status(tmp_path)
    assert (status["phase"], status["step"], status["alive"]) == ("finished", 3, False)
    assert status["checkpoint"] is None
    assert [path.name for path in tmp_path.iterdir()] == [STATUS_FILE]
    write_checkpoint(tmp_path / "checkpoints/step-0000000012", {}, {})
    checkpoint = read_status(tmp_path)["checkpoint"]
    assert checkpoint["step"] == 12
    for number in (9, 10):
        write_checkpoint(tmp_path / f"other/phase-{number}/step-{3 * number:010d}", {}, {})
    assert last_written(tmp_path / "other")["step"] == 30
    assert abs(checkpoint["time"] - time.time()) < 60


def test_a_place_that_cannot_be_written_does_not_stop_the_run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    status = RunStatus(folder)
    (folder / STATUS_FILE).unlink()
    folder.rmdir()
    status.close("finished")
    assert not folder.exists()


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no run: it holds no status\.json"):
        read_status(tmp_path)
    (tmp_path / STATUS_FILE).write_text("{")
    with pytest.raises(InputError, match=r"status\.json: damaged"):
        read_status(tmp_path)


def test_the_command_prints_it_without_waiting_for_tensorflow(tmp_path, capsys):
    (tmp_path / STATUS_FILE).write_text(json.dumps({**RUNNING, "updated": time.time()}))
    code = (
        "import sys; from tfbert.cli import main; code = main(sys.argv[1:]); "
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "status", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "update 1,200 of 5,000" in done.stdout
    assert main(["status", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 1200
