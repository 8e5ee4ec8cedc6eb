import contextlib
import dataclasses
import gzip
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfbert.errors import InputError
from tfbert.io.locks import RunLock
from tfbert.io.whole import unfinished_folder
from tfbert.records.description import read_dataset
from tfbert.records.prepare import prepare


def stop_at_the_end(config):
    """Prepares all shards and is interrupted before their description is written."""

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tfbert.records.prepare.describe", stop)
        prepare(config)


@pytest.mark.parametrize("interrupted", ["a missing shard", "a damaged shard", "another text"])
def test_a_stopped_run_makes_again_what_is_not_whole(
    configure, tmp_path, text_file, interrupted, files_of
):
    text = text_file.read_text()
    undisturbed = configure(text, output=str(tmp_path / "undisturbed"))
    prepare(undisturbed)
    cut = 300 if interrupted == "another text" else None
    stopped = configure("\n".join(text.split("\n")[:cut]))
    stop_at_the_end(stopped)
    records = unfinished_folder(stopped.output) / "records"
    assert not Path(stopped.output).exists()
    shard = records / "train-64-00001.tfrecord.gz"
    if interrupted == "a missing shard":
        shard.unlink()
    elif interrupted == "a damaged shard":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        (records / "train-64-00099.tfrecord.gz").touch()
    prepare(configure(text))
    first, second = files_of(undisturbed.output), files_of(stopped.output)
    described, expected = (json.loads(files.pop("dataset.json")) for files in (second, first))
    assert described["shards"] == expected["shards"]
    assert first == second


def test_finished_shards_are_not_made_again(configure, monkeypatch):
    stop_at_the_end(configure())
    made = []
    monkeypatch.setattr(
        "tfbert.records.shards.ShardWriter.write", lambda self, block: made.append(block)
    )
    prepare(configure())
    assert made == []


def test_a_finished_folder_is_left_alone_or_made_anew(configure, caplog, files_of):
    config = configure()
    first = prepare(config)
    # What a kill between the last two steps leaves behind.
    unfinished_folder(config.output).mkdir()
    with caplog.at_level("INFO", "tfbert"):
        assert prepare(config) == first
    assert "is finished" in caplog.text
    assert not unfinished_folder(config.output).exists()
    for other in ({"seed": 5}, {"input": [config.vocab]}):
        with pytest.raises(InputError, match="records of other input or options"):
            prepare(configure(**other))
    (Path(config.output) / "notes.txt").touch()
    again = prepare(configure(seed=5, overwrite=True))
    assert again["options"]["seed"] == 5
    # What is not of this command's making stays.
    names = {shard["file"] for shard in again["shards"]}
    assert set(files_of(config.output)) == names | {"vocab.txt", "dataset.json", "notes.txt"}


def test_other_options_do_not_go_on_with_a_stopped_run(configure):
    stop_at_the_end(configure())
    with pytest.raises(InputError, match="a run with other options was stopped here"):
        prepare(configure(seed=5))
    prepare(configure(seed=5, overwrite=True))


def test_bad_text_can_be_mended_with_other_options(configure):
    text = "Caf\xe9 one. Two.\nThree. Four.\n".encode("latin-1")
    with pytest.raises(InputError, match="line 1: byte 0xe9 is not valid utf-8"):
        prepare(configure(text))
    prepare(configure(text, encoding="latin-1"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_at_a_time(configure, overwrite):
    config = configure(overwrite=overwrite)
    with RunLock(unfinished_folder(config.output)):
        (unfinished_folder(config.output) / "options.json").write_text("{}")
        with pytest.raises(InputError, match=f"process {os.getpid()} on .* is at work"):
            prepare(config)
        assert (unfinished_folder(config.output) / "options.json").exists()


def count_finished(directory):
    return len(list(unfinished_folder(directory).glob("*-*.json")))


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def is_running(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_kills_change_nothing(vocabulary_file, tmp_path, files_of, make_text, kills):
    """SIGKILL at random moments, then a run to the end: the bytes of an undisturbed run."""
    text = tmp_path / "text.txt.gz"
    text.write_bytes(gzip.compress(make_text(800 * kills).encode(), mtime=0))
    generator = random.Random(0)

    def command(name):
        return [
            *(sys.executable, "-m", "tfbert", "prepare", "--input", str(text)),
            *("--output", str(tmp_path / name), "--vocab", str(vocabulary_file)),
            *("--shard-mb", "0.015", "--masking", "fixed", "--workers", "2", "--no-progress"),
        ]

    subprocess.run(command("undisturbed"), check=True, capture_output=True)
    killed = tmp_path / "killed"
    shards = len(read_dataset(tmp_path / "undisturbed")["shards"])
    assert shards > 15 * kills
    for _ in range(kills):
        before = count_finished(killed)
        with subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL) as process:
            enough = before + generator.randint(0, 12)
            while count_finished(killed) < enough and process.poll() is None:
                time.sleep(0.002)
            time.sleep(generator.random() * 0.03)
            workers_then = children_of(process.pid)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        deadline = time.monotonic() + 30
        while any(map(is_running, workers_then)):
            assert time.monotonic() < deadline, "workers outlive the process that started them"
            time.sleep(0.01)
    assert 0 < count_finished(killed) < shards
    subprocess.run(command("killed"), check=True, capture_output=True)
    assert files_of(killed) == files_of(tmp_path / "undisturbed")


@pytest.mark.parametrize("failure", ["bad text", "Ctrl-C", "one document"])
def test_overwrite_keeps_the_old_records_until_the_new_ones_stand(
    configure, text_file, files_of, failure
):
    prepare(configure())
    before = files_of(configure().output)
    text = {
        "bad text": b"A document. Fine.\n" * 3 + b"Caf\xe9\n",
        "Ctrl-C": text_file.read_bytes()[:9000],
        "one document": b"One document. Only one.",
    }[failure]
    config = configure(text, overwrite=True, validation_fraction=0)
    if failure == "Ctrl-C":
        stop_at_the_end(config)
    else:
        with pytest.raises(InputError):
            prepare(config)
    assert files_of(config.output) == before


@pytest.mark.parametrize("moves", [0, 1, 3])
def test_a_kill_while_the_old_records_are_replaced(
    configure, files_of, tmp_path, monkeypatch, moves
):
    """The new ones are whole by then: the same command puts the rest in its place."""
    prepare(configure())
    (Path(configure().output) / "notes.txt").touch()
    config = configure(seed=5, overwrite=True)
    move = shutil.move
    left = iter(range(moves))

    def move_some(*arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        move(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shutil.move", move_some)
        prepare(config)
    with pytest.raises(InputError, match="`tfbert prepare` is not finished here"):
        read_dataset(config.output)
    prepare(dataclasses.replace(config, overwrite=False))
    prepare(dataclasses.replace(config, output=str(tmp_path / "undisturbed")))
    expected = files_of(tmp_path / "undisturbed")
    assert files_of(config.output) == {**expected, "notes.txt": b""}
    assert not unfinished_folder(config.output).exists()


def test_a_finished_folder_does_not_touch_what_another_process_writes(configure):
    config = configure()
    prepare(config)
    with RunLock(unfinished_folder(config.output)):
        prepare(config)
        assert unfinished_folder(config.output).exists()


@pytest.mark.parametrize("damage", ["missing", "cut", "vocabulary"])
def test_a_finished_folder_that_is_not_whole_is_made_again(configure, caplog, files_of, damage):
    config = configure()
    prepare(config)
    before = files_of(config.output)
    shard = Path(config.output) / "train-64-00001.tfrecord.gz"
    if damage == "missing":
        shard.unlink()
    elif damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        (Path(config.output) / "vocab.txt").write_text("other\n")
    prepare(config)
    assert "missing or damaged; all is made again" in caplog.text
    assert files_of(config.output) == before


def test_changed_text_is_not_taken_for_finished(configure, make_text):
    prepare(configure(make_text(50)))
    changed = make_text(60)
    with pytest.raises(InputError, match=r"input files have changed .* --overwrite"):
        prepare(configure(changed))
    assert prepare(configure(changed, overwrite=True))["input"]["documents"] == 60


def test_standard_input_is_never_taken_for_finished(configure, monkeypatch, make_text):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(make_text(50).encode())))
    prepare(configure(input=["-"]))
    with pytest.raises(InputError, match=r"standard input, .* --overwrite"):
        prepare(configure(input=["-"]))


def test_output_below_the_input_is_not_read(configure, tmp_path, make_text):
    config = configure(make_text(50), input=[str(tmp_path)], output=str(tmp_path / "records"))
    stop_at_the_end(config)
    assert (tmp_path / "records.unfinished" / "records" / "vocab.txt").exists()
    assert prepare(config)["input"]["documents"] == 50
