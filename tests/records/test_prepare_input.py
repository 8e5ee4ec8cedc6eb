import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.error_lines import error_line

from tfbert.errors import InputError, MachineError
from tfbert.records import workers
from tfbert.records.prepare import prepare

ONE = "One document. Only one."


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "there is no text in it"),
        ("\n" * 100_000, {"documents": "blank"}, "there is no text in it"),
        ("\u200b\n\u200b\n", {}, "there is no text in it"),
        (ONE, {}, "the text is one document"),
        (f"{ONE}\n" * 5, {"validation_fraction": 0}, r"4 duplicates are dropped.*--keep-dupl"),
        (
            "One document. One.\nAnother one. Good.\n",
            {"validation_fraction": 0.9999},
            r"--validation-fraction 0.9999 holds every document out",
        ),
    ],
)
def test_text_without_records(configure, text, options, message):
    config = configure(text, **options)
    with pytest.raises(InputError, match=message):
        prepare(config)
    assert not (Path(config.output) / "dataset.json").exists()


def test_one_document_can_be_packed(configure):
    """Also after pairs were tried in the same folder."""
    with pytest.raises(InputError, match="--sequences sentences"):
        prepare(configure(ONE, validation_fraction=0))
    dataset = prepare(configure(ONE, sequences="sentences", validation_fraction=0))
    assert dataset["splits"]["train"]["sequences"]["64"]["examples"] == 1


@pytest.mark.parametrize("output", ["/proc/records", "/dev/null/records", "/dev/null"])
def test_folders_that_cannot_be(configure, output):
    with pytest.raises(InputError, match=f"--output {output}: "):
        prepare(configure(output=output))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("thesis.txt", ""),
        ("dataset.json", '{"name": "of another program"}'),
        ("dataset.json", "[1, 2]"),
        ("unfinished/thesis.txt", "half of it"),
    ],
)
def test_folders_with_other_files_are_not_touched(configure, place, name, content):
    mine = place / "records" / name
    mine.parent.mkdir(parents=True)
    mine.write_text(content)
    for overwrite in (False, True):
        with pytest.raises(InputError, match="holds other files"):
            prepare(configure(output=str(place / "records"), overwrite=overwrite))
    assert mine.read_text() == content


def test_warnings(configure, tmp_path, caplog, make_text):
    text = make_text(3) + "\n" + "tiny\n\n" * 2
    prepare(configure(text, shard_mb=0.00001, output=str(tmp_path / "one")))
    assert "pairs are all of consecutive text" in caplog.text
    prepare(configure("\n".join(f"line {i}" for i in range(100))))
    assert "of the sequences is padding, the documents are that short" in caplog.text


def test_a_dead_worker_is_reported(configure, monkeypatch):
    receive = workers._Worker.receive

    def kill_first(self):
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.connection.recv()
        return receive(self)

    monkeypatch.setattr(workers._Worker, "receive", kill_first)
    with pytest.raises(MachineError, match="a worker process ended with status -9"):
        prepare(configure(workers=2))


def test_a_script_without_a_guard_is_told_so(text_file, vocabulary_file, tmp_path):
    script = tmp_path / "script.py"
    options = f"[{str(text_file)!r}], {str(tmp_path / 'records')!r}, {str(vocabulary_file)!r}"
    script.write_text(
        "from tfbert.records.record_options import PrepareConfig\n"
        "from tfbert.records.prepare import prepare\n"
        f"prepare(PrepareConfig({options}, workers=2, progress=False))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 1
    assert "call `prepare` under `if __name__ == '__main__':`" in done.stderr


@pytest.mark.parametrize("count", [1, 2])
def test_a_shard_that_cannot_be_written(configure, count):
    config = configure(workers=count)
    # A folder stands where a shard should be.
    Path(f"{config.output}.unfinished/records/train-64-00001.tfrecord.gz").mkdir(parents=True)
    with pytest.raises(MachineError, match=r"shard train 1 cannot be written: .* goes on"):
        prepare(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--input missing.txt", "missing.txt: no such file"),
        ("--vocab missing.txt", "missing.txt: no such file"),
        ("--vocab text.txt", "has no [PAD]; a BERT vocabulary is needed"),
        ("--lengths 4", "--lengths is [4]: it must be one or more different numbers from 8"),
        ("--lengths 64 64", "--lengths is [64, 64]"),
        ("--lengths x", "--lengths is 'x': it must be a list, each a whole number"),
        ("--max-predictions 5 6", "one number above 0 for each of --lengths"),
        ("--mask-fraction 0", "--mask-fraction is 0.0: it must be above 0"),
        ("--short-probability 1", "--short-probability is 1.0"),
        ("--ngram 11", "--ngram is 11: it must be at most 10"),
        ("--shard-mb 0", "--shard-mb is 0.0: it must be above 0"),
        ("--dupe-factor 0", "--dupe-factor is 0"),
        ("--workers 0", "--workers is 0"),
        ("--documents page", "--documents"),
        ("--encoding klingon", "--encoding klingon: Python knows no such encoding"),
    ],
)
def test_bad_options_are_one_line(
    options, message, text_file, vocabulary_file, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    command = ["prepare", "--output", "never", "--no-progress", "--workers", "1"]
    for option, value in (("--input", text_file), ("--vocab", vocabulary_file)):
        if option not in options:
            command += [option, str(value)]
    words = options.replace("text.txt", str(text_file)).split()
    assert message in error_line([*command, *words], capsys)


def test_one_path_alone_is_a_list(configure, text_file):
    for path in (text_file, str(text_file)):
        assert configure(input=path).input == [str(text_file)]


def test_overwrite_spares_records_of_others(configure):
    config = configure()
    prepare(config)
    mine = Path(config.output) / "translations.tfrecord.gz"
    mine.touch()
    prepare(configure(overwrite=True))
    assert mine.exists()


def test_a_pipe_is_no_input(configure, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: is not a regular file; use - for standard input"):
        prepare(configure(input=[str(tmp_path / "pipe")]))


def test_an_output_without_a_name(configure):
    with pytest.raises(InputError, match="--output is ''"):
        configure(output="")
