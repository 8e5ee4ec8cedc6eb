import errno
import json

import pytest
import yaml

from tfbert.config import FinetuneConfig, read_options
from tfbert.errors import InputError, MachineError
from tfbert.files import replacing
from tfbert.training.run_directory import RunDirectory, read_run_config, saving

CONFIG = FinetuneConfig(task="embedded", output="out")


def write_run(run, **metrics):
    with run.writing(CONFIG, labels=["a", "b"]):
        (run.checkpoints / "last.weights.h5").write_text("weights")
        run.write_metrics(metrics)


def test_a_new_directory_is_made_with_the_configuration(tmp_path):
    run = RunDirectory(tmp_path / "deep" / "run")
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
    with pytest.raises(InputError, match=r"holds another run.*--overwrite"):
        run.check_free(overwrite=False)
    run.check_free(overwrite=True)
    with run.writing(CONFIG):
        assert not run.metrics.exists()
        assert not any(run.checkpoints.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "config.yaml", "checkpoints"}


@pytest.mark.parametrize("error", [MachineError("disk full"), KeyboardInterrupt()])
def test_a_replaced_run_comes_back_when_the_new_one_fails(tmp_path, error):
    run = RunDirectory(tmp_path)
    write_run(run, accuracy=0.5)
    with pytest.raises(type(error)), run.writing(CONFIG):
        (run.checkpoints / "last.weights.h5").write_text("new")
        run.model.mkdir()
        raise error
    assert json.loads(run.metrics.read_text()) == {"accuracy": 0.5}
    assert (run.checkpoints / "last.weights.h5").read_text() == "weights"
    assert not run.model.exists()
    assert not run.replaced.exists()


def test_after_a_kill_the_older_whole_run_is_the_one_to_keep(tmp_path):
    run = RunDirectory(tmp_path)
    write_run(run, accuracy=0.5)
    killed = run.writing(CONFIG)
    killed.__enter__()
    with pytest.raises(ZeroDivisionError), run.writing(CONFIG):
        raise ZeroDivisionError
    assert json.loads(run.metrics.read_text()) == {"accuracy": 0.5}


def test_a_first_run_that_fails_leaves_what_it_has(tmp_path):
    run = RunDirectory(tmp_path)
    with pytest.raises(ZeroDivisionError), run.writing(CONFIG):
        (run.checkpoints / "last.weights.h5").write_text("new")
        raise ZeroDivisionError
    assert (run.checkpoints / "last.weights.h5").exists()


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
    with pytest.raises(InputError, match="holds files that are no run"):
        RunDirectory(tmp_path).check_free(overwrite=True)
    with pytest.raises(InputError, match="is a file"):
        RunDirectory(tmp_path / "thesis.tex").check_free(overwrite=True)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_old_one_stays_until_the_new_one_is_whole(tmp_path, kind):
    path = tmp_path / "x.weights.h5"

    def write(target, text):
        if kind == "folder":
            target.mkdir()
            target = target / "inside"
        target.write_text(text)

    with replacing(path) as temporary:
        write(temporary, "old")
    with pytest.raises(OSError), replacing(path) as temporary:
        write(temporary, "half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (path / "inside" if kind == "folder" else path).read_text() == "old"
    with replacing(path) as temporary:
        write(temporary, "new")
    assert (path / "inside" if kind == "folder" else path).read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_full_disk_is_one_line(tmp_path):
    message = "cannot write .*: No space left on device; what was"
    with pytest.raises(MachineError, match=message), saving(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert MachineError.exit_status == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("HDF5 says: errno = 27, error message = 'File too large', buf = 0x1"), "File too"),
        (RuntimeError("Can't close (errno = 28, 'No space left on device')"), "No space left on"),
    ],
)
def test_the_words_of_hdf5_are_shortened(tmp_path, error, reason):
    with pytest.raises(MachineError, match=f"cannot write .*: {reason}"), saving(tmp_path):
        raise error


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(RuntimeError, match="a bug"), saving(tmp_path):
        raise RuntimeError("a bug")


def test_what_cannot_fit_is_not_begun(tmp_path):
    path = tmp_path / "weights"
    message = r"takes 1000000000000\.0 MB and the disk has \d+\.\d MB left"
    with pytest.raises(MachineError, match=message), saving(path, size=10**18):
        path.write_text("begun")
    assert not path.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path, message in (
        (tmp_path / "file" / "run", "file is a file"),
        (tmp_path / ("x" * 300), "cannot be written"),
    ):
        with pytest.raises(InputError, match=message):
            RunDirectory(path).check_free(overwrite=False)
