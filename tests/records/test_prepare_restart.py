import contextlib
import dataclasses
import gzip
import io
import json
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
from tfbert.records.description import read_dataset
from tfbert.records.prepare import prepare


@pytest.mark.parametrize("interrupted", ["a missing shard", "a damaged shard", "another text"])
def test_a_stopped_run_makes_again_what_is_not_whole(
    configure, tmp_path, monkeypatch, interrupted, files_of
):
    config = configure(output=str(tmp_path / "undisturbed"))
    prepare(config)
    text = tmp_path / "text.txt"
    lines = Path(config.input[0]).read_text().split("\n")
    text.write_text("\n".join(lines[:300] if interrupted == "another text" else lines))
    stopped = configure(input=[str(text)], output=str(tmp_path / "stopped"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tfbert.records.prepare.describe", lambda *_: stop())
        prepare(stopped)
    directory = Path(stopped.output)
    records = unfinished(directory) / "records"
    assert not directory.exists()
    shard = records / "train-64-00001.tfrecord.gz"
    if interrupted == "a missing shard":
        shard.unlink()
    elif interrupted == "a damaged shard":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        (records / "train-64-00099.tfrecord.gz").touch()
    text.write_text("\n".join(lines))
    prepare(stopped)
    first, second = files_of(config.output), files_of(directory)
    described = json.loads(second.pop("dataset.json"))
    assert described["shards"] == json.loads(first.pop("dataset.json"))["shards"]
    assert first == second


def stop():
    raise KeyboardInterrupt


def unfinished(directory):
    """Where the records of a folder grow."""
    return Path(f"{directory}.unfinished")


def test_finished_shards_are_not_made_again(configure, monkeypatch):
    config = configure()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tfbert.records.prepare.describe", lambda *_: stop())
        prepare(config)
    made = []
    monkeypatch.setattr(
        "tfbert.records.shards.ShardWriter.write", lambda self, block: made.append(block)
    )
    prepare(config)
    assert made == []


def test_a_finished_folder_is_left_alone_or_made_anew(configure, caplog, files_of):
    config = configure()
    first = prepare(config)
    # What a kill between the last two steps leaves behind.
    unfinished(config.output).mkdir()
    with caplog.at_level("INFO", "tfbert"):
        assert prepare(config) == first
    assert "is finished" in caplog.text
    assert not unfinished(config.output).exists()
    for other in ({"seed": 5}, {"input": [config.vocab]}):
        with pytest.raises(InputError, match="records of other input or options"):
            prepare(configure(**other))
    (Path(config.output) / "notes.txt").touch()
    again = prepare(configure(seed=5, overwrite=True))
    assert again["options"]["seed"] == 5
    # What is not of this command's making stays.
    names = {shard["file"] for shard in again["shards"]}
    assert set(files_of(config.output)) == names | {"vocab.txt", "dataset.json", "notes.txt"}


def test_other_options_do_not_go_on_with_a_stopped_run(configure, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tfbert.records.prepare.describe", lambda *_: stop())
        prepare(configure())
    with pytest.raises(InputError, match="a run with other options was stopped here"):
        prepare(configure(seed=5))
    prepare(configure(seed=5, overwrite=True))


def test_bad_text_can_be_mended_with_other_options(configure, tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("Caf\xe9 one. Two.\nThree. Four.\n".encode("latin-1"))
    with pytest.raises(InputError, match="line 1: byte 0xe9 is not valid utf-8"):
        prepare(configure(input=[str(path)]))
    prepare(configure(input=[str(path)], encoding="latin-1"))


def test_two_at_a_time(configure, text_file):
    config = configure()
    script = "import sys, time; from tfbert.io.locks import RunLock\n"
    script += "with RunLock(sys.argv[1]): print('locked', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", script, str(unfinished(config.output))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match=f"process {other.pid} on .* is at work"):
            prepare(config)
        other.kill()


def count_finished(directory):
    return len(list(unfinished(directory).glob("*-*.json")))


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def is_running(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_kills_change_nothing(vocabulary_file, tmp_path, files_of, make_text, kills):
    """SIGKILL at random moments, then a run to the end: the bytes of an undisturbed run."""
    text = tmp_path / "text.txt.gz"
    text.write_bytes(gzip.compress("\n".join(make_text(800 * kills)).encode(), mtime=0))
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
    configure, tmp_path, monkeypatch, files_of, failure
):
    config = configure()
    prepare(config)
    before = files_of(config.output)
    text = tmp_path / "new.txt"
    text.write_bytes(
        {
            "bad text": b"A document. Fine.\n" * 3 + b"Caf\xe9\n",
            "Ctrl-C": Path(config.input[0]).read_bytes()[:9000],
            "one document": b"One document. Only one.",
        }[failure]
    )
    with monkeypatch.context() as patch, pytest.raises((InputError, KeyboardInterrupt)):
        if failure == "Ctrl-C":
            patch.setattr("tfbert.records.prepare.describe", lambda *_: stop())
        prepare(configure(input=[str(text)], overwrite=True, validation_fraction=0))
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
    assert not unfinished(config.output).exists()


def test_overwrite_beside_a_running_prepare_is_refused(configure):
    config = configure()
    with RunLock(unfinished(config.output)):
        (unfinished(config.output) / "options.json").write_text("{}")
        with pytest.raises(InputError, match="is at work"):
            prepare(configure(overwrite=True))
        assert (unfinished(config.output) / "options.json").exists()


def test_a_finished_folder_does_not_touch_what_another_process_writes(configure):
    config = configure()
    prepare(config)
    with RunLock(unfinished(config.output)):
        prepare(config)
        assert unfinished(config.output).exists()


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


def test_changed_text_is_not_taken_for_finished(configure, tmp_path, make_text):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(make_text(50)))
    config = configure(input=[str(text)])
    prepare(config)
    text.write_text("\n".join(make_text(60)))
    with pytest.raises(InputError, match=r"input files have changed .* --overwrite"):
        prepare(config)
    assert prepare(configure(input=[str(text)], overwrite=True))["input"]["documents"] == 60


def test_standard_input_is_never_taken_for_finished(configure, monkeypatch, make_text):
    data = "\n".join(make_text(50)).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    prepare(configure(input=["-"]))
    with pytest.raises(InputError, match=r"standard input, .* --overwrite"):
        prepare(configure(input=["-"]))


def test_output_below_the_input_is_not_read(configure, tmp_path, make_text, monkeypatch):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "text.txt").write_text("\n".join(make_text(50)))
    config = configure(input=[str(corpus)], output=str(corpus / "records"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tfbert.records.prepare.describe", lambda *_: stop())
        prepare(config)
    assert (corpus / "records.unfinished" / "records" / "vocab.txt").exists()
    assert prepare(config)["input"]["documents"] == 50
