import logging
import os
import shutil
import subprocess
import threading
from pathlib import Path
from unittest.mock import Mock

import keras
import numpy as np
import pytest
from test_checkpoint_files import DAMAGES

from tfbert.io.paths import as_path
from tfbert.recovery import checkpoints as module
from tfbert.recovery.checkpoint_files import (
    MANIFEST_FILE,
    STATE_FILE,
    TENSORS_FILE,
    checkpoint_keys,
    checkpoint_path,
    last_written,
    write_checkpoint,
)
from tfbert.recovery.checkpoints import Checkpoints


@pytest.fixture
def variables():
    return {
        "model/kernel": keras.Variable(np.zeros((50, 40), np.float32)),
        "optimizer/iteration": keras.Variable(np.array(0), dtype="int64"),
    }


def save(checkpoints, variables, step, best=None, wait=False, **state):
    variables["model/kernel"].assign(np.full((50, 40), step, np.float32))
    variables["optimizer/iteration"].assign(step)
    state = {"epoch": step, "best": best and {"step": best}, **state}
    return checkpoints.save(step, variables, state, wait=wait)


def steps_in(folder):
    return [step for step, _ in checkpoint_keys(folder)]


def assert_is(checkpoint, step):
    assert checkpoint.step == step
    assert checkpoint.state["epoch"] == step
    np.testing.assert_array_equal(
        checkpoint.tensors["model/kernel"], np.full((50, 40), step, np.float32)
    )
    assert checkpoint.tensors["optimizer/iteration"] == step


def test_the_last_ones_and_the_best_are_kept(place, variables):
    checkpoints = Checkpoints(place / "checkpoints", keep=2)
    assert checkpoints.newest() is None
    for step, best in ((1, None), (2, 2), (3, 2), (4, 2), (5, 2)):
        assert save(checkpoints, variables, step, best, wait=True)
    assert steps_in(checkpoints.directory) == [2, 4, 5]
    save(checkpoints, variables, 6, best=6, wait=True)
    # 2 was the best as far as 5 knows, and whoever goes on from 5 will want it.
    assert steps_in(checkpoints.directory) == [2, 5, 6]
    save(checkpoints, variables, 7, best=6, wait=True)
    assert steps_in(checkpoints.directory) == [6, 7]
    assert checkpoint_keys(checkpoints.directory) == [(6, 0), (7, 0)]
    assert last_written(checkpoints.directory)["step"] == 7
    assert_is(checkpoints.newest(), 7)
    assert_is(checkpoints.read(6), 6)


def test_those_of_earlier_folders_make_way(place, variables):
    folders = [os.fspath(place / name) for name in ("phase-1", "phase-2", "phase-3")]
    for number, (folder, steps) in enumerate(zip(folders[:2], ((1, 2), (3,)), strict=True)):
        earlier = Checkpoints(folder, keep=2, earlier=folders[:number])
        for step in steps:
            save(earlier, variables, step, wait=True)
    last = Checkpoints(folders[2], keep=2, earlier=folders[:2])

    assert [steps_in(folder) for folder in folders] == [[2], [3], []]
    save(last, variables, 4, wait=True)
    assert [steps_in(folder) for folder in folders] == [[], [3], [4]]
    assert last_written(os.fspath(place))["step"] == 4
    save(last, variables, 5, wait=True)
    assert [steps_in(folder) for folder in folders] == [[], [], [4, 5]]
    assert not as_path(folders[1]).exists()


@pytest.mark.parametrize("file", [TENSORS_FILE, STATE_FILE, MANIFEST_FILE])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_one_gives_way_to_the_one_before(tmp_path, variables, caplog, file, damage):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2):
        save(checkpoints, variables, step, wait=True)
    damage(Path(checkpoint_path(tmp_path, 2)) / file, Path(checkpoint_path(tmp_path, 1)))
    later = Checkpoints(tmp_path, keep=2)
    with caplog.at_level(logging.WARNING, "tfbert"):
        assert_is(later.newest(), 1)
    assert "step-0000000002: damaged: " in caplog.text
    # It does not count among those that are kept.
    save(later, variables, 3, wait=True)
    assert steps_in(tmp_path) == [1, 3]
    assert_is(later.newest(), 3)


def test_what_a_killed_process_left_is_cleaned_up(tmp_path, variables):
    save(Checkpoints(tmp_path), variables, 1, wait=True)
    write_checkpoint(checkpoint_path(tmp_path, 5), {"model/kernel": np.ones(3)}, {})
    Path(checkpoint_path(tmp_path, 5), MANIFEST_FILE).unlink()
    later = Checkpoints(tmp_path)
    assert_is(later.newest(), 1)
    save(later, variables, 2, wait=True)
    assert steps_in(tmp_path) == [1, 2]


def test_training_goes_on_while_one_is_written(tmp_path, variables, monkeypatch):
    may_write = threading.Event()

    def slowly(*arguments):
        assert may_write.wait(30)
        write_checkpoint(*arguments)

    monkeypatch.setattr(module, "write_checkpoint", slowly)
    checkpoints = Checkpoints(tmp_path)
    heard = ["before"]
    assert save(checkpoints, variables, 1, heard=heard)
    heard.append("after")
    assert checkpoints.busy
    assert not save(checkpoints, variables, 2)  # there is one copy, and it is in use
    may_write.set()
    save(checkpoints, variables, 3, wait=True)
    assert checkpoints.last == 3
    assert steps_in(tmp_path) == [1, 3]
    first = checkpoints.read(1)
    assert_is(first, 1)  # what came later has not got into it
    assert first.state["heard"] == ["before"]


def test_weights_that_are_no_numbers_are_not_saved(tmp_path, variables, caplog):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, variables, 1, wait=True)
    variables["model/kernel"].assign(np.full((50, 40), np.nan, np.float32))
    checkpoints.save(2, variables, {}, wait=True)
    assert "no checkpoint at step 2, that of step 1 stays: model/kernel holds an inf" in caplog.text
    assert_is(checkpoints.newest(), 1)


def test_a_bug_in_the_thread_is_not_hidden(tmp_path, variables, monkeypatch):
    monkeypatch.setattr(module, "write_checkpoint", lambda *_: 1 / 0)
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(ZeroDivisionError):
        save(checkpoints, variables, 1, wait=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("known", [True, False], ids=["foreseen", "not foreseen"])
def test_a_full_disk_costs_a_checkpoint_and_no_more(small_disk, caplog, monkeypatch, known):
    if not known:  # another process takes the room in the meantime
        total = shutil.disk_usage("/")._replace(free=10**12)
        monkeypatch.setattr("shutil.disk_usage", lambda path: total)
    values = np.arange(100_000, dtype=np.float32)
    variables = {"model/kernel": keras.Variable(values)}
    checkpoints = Checkpoints(small_disk, keep=2)
    for step in (1, 2, 3):  # 0.4 MB each: the third does not fit while both others are kept
        checkpoints.save(step, variables, {}, wait=True)
    assert "no checkpoint at step 3, that of step 2 stays: cannot write" in caplog.text
    assert "\n" not in checkpoints.failure
    assert steps_in(small_disk) == [1, 2]
    newest = checkpoints.newest()
    assert newest.step == 2
    np.testing.assert_array_equal(newest.tensors["model/kernel"], values)
    # When there is room again, it goes on.
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    checkpoints.save(4, variables, {}, wait=True)
    assert checkpoints.failure is None
    assert steps_in(small_disk) == [2, 4]


def test_a_second_one_of_the_same_update_leaves_the_first_until_it_stands(
    tmp_path, variables, monkeypatch
):
    """At the end of an epoch, after one that was due; with a disk that is full, or a kill."""
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(4, variables, {"turn": 1}, wait=True)
    with monkeypatch.context() as patch:
        patch.setattr(
            module,
            "write_checkpoint",
            Mock(side_effect=OSError(28, "No space left on device")),
        )
        checkpoints.save(4, variables, {"turn": 2}, wait=True)
    assert "that of step 4 stays" in checkpoints.failure
    assert Checkpoints(tmp_path).newest().state == {"turn": 1}
    # A process that was killed while it wrote leaves a folder without a manifest.
    Path(checkpoint_path(tmp_path, 4, 1)).mkdir()
    assert Checkpoints(tmp_path).newest().state == {"turn": 1}
    checkpoints.save(4, variables, {"turn": 3}, wait=True)
    assert Checkpoints(tmp_path).newest().state == {"turn": 3}
    assert len(checkpoint_keys(tmp_path)) == 1
    checkpoints.close()


def test_a_lost_best_one_is_said_and_not_insisted_on(tmp_path, variables, caplog):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, variables, 4, best=2, wait=True)
    assert checkpoints.best() is None
    assert "the best checkpoint is lost, the last weights stay" in caplog.text


def test_one_under_another_name_is_passed_over(tmp_path, variables):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(4, variables, {"updates": 4}, wait=True)
    shutil.copytree(checkpoint_path(tmp_path, 4), checkpoint_path(tmp_path, 9))
    assert checkpoints.newest().step == 4
