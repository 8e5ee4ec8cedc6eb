"""Reading from gs://: what the readers give for local files they give for objects."""

import dataclasses
import gzip
import io
import zipfile

import numpy as np
import pytest

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines
from tfbert.records.prepare import prepare
from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_source import open_records
from tfbert.tasks.documents import read_document_archive, read_document_folders
from tfbert.tasks.labelled_data import LabelledData
from tfbert.text.corpus import find_sources, read_documents, text_size
from tfbert.text.learn_vocabulary import learn_vocabulary
from tfbert.text.vocab_options import VocabConfig
from tfbert.text.vocabulary import read_vocabulary


def test_lines_of_text_plain_and_packed(object_store):
    object_store.objects |= {
        "gs://bucket/text.txt": "\ufeffone\ntwo".encode(),
        "gs://bucket/text.txt.gz": gzip.compress(b"one\ntwo"),
    }
    for name in ("text.txt", "text.txt.gz"):
        assert list(read_lines(f"gs://bucket/{name}")) == [(1, "one\n"), (2, "two")]
    assert list(read_lines("gs://bucket/text.txt", longest=3))[-1] == (2, "two")
    with pytest.raises(InputError, match="gs://bucket/none: no such file"):
        list(read_lines("gs://bucket/none"))


def test_sources_of_text(object_store):
    texts = {"a.txt": b"first", "deep/b.txt.gz": gzip.compress(b"second" * 9), "c.md": b"third"}
    object_store.objects |= {f"gs://bucket/text/{name}": text for name, text in texts.items()}
    folder = find_sources(["gs://bucket/text"])
    assert folder == ["gs://bucket/text/a.txt", "gs://bucket/text/deep/b.txt.gz"]
    assert find_sources(["gs://bucket/text/*.md"]) == ["gs://bucket/text/c.md"]
    assert find_sources(["gs://bucket/text/**/*.txt*"]) == folder
    assert [part.text for part in read_documents(folder, "file")] == ["first", "second" * 9]
    assert text_size(folder) == 5 + 54
    with pytest.raises(InputError, match="no such file"):
        find_sources(["gs://bucket/text/none"])


def test_records_are_the_same_batches(object_store, configure):
    config = configure()
    prepare(config)
    local = open_records(config.output).shards[0].path.parent
    for path in local.iterdir():
        object_store.objects[f"gs://bucket/records/{path.name}"] = path.read_bytes()
    expected = PretrainingRecords(open_records(config.output), 8, seed=1).batch(3)
    found = PretrainingRecords(open_records("gs://bucket/records"), 8, seed=1).batch(3)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_labelled_texts_in_a_folder_and_in_documents(object_store):
    object_store.objects |= {
        "gs://bucket/sst2/train.tsv": b"sentence\tlabel\ngood\t1\nbad\t0\n",
        "gs://bucket/sst2/dev.tsv": b"sentence\tlabel\nfine\t1\n",
        "gs://bucket/reviews/neg/1.txt": b"dull",
        "gs://bucket/reviews/pos/2.txt": b"great",
    }
    train, evaluation = LabelledData("sst2", "gs://bucket/sst2").splits()
    assert (train.texts, evaluation.texts) == (["good", "bad"], ["fine"])
    documents = read_document_folders("gs://bucket/reviews", ("neg", "pos"))
    assert documents.texts == ["dull", "great"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for label, text in zip(("neg", "pos"), documents.texts, strict=True):
            archive.writestr(f"reviews/{label}/1.txt", text)
    object_store.objects["gs://bucket/reviews.zip"] = packed.getvalue()
    archived = read_document_archive("gs://bucket/reviews.zip", ("neg", "pos"))
    assert archived.texts == documents.texts
    with pytest.raises(InputError, match="no such file or folder"):
        LabelledData("sst2", "gs://bucket/none")


def test_a_vocabulary_is_written_there(object_store):
    object_store.objects["gs://bucket/text.txt"] = b"the movie was good and the movie was long\n"
    config = VocabConfig(
        input=["gs://bucket/text.txt"], output="gs://bucket/vocab.txt", size=60, progress=False
    )
    vocabulary = learn_vocabulary(config)
    assert read_vocabulary("gs://bucket/vocab.txt").pieces == vocabulary.pieces
    with pytest.raises(InputError, match="one of the input files"):
        learn_vocabulary(VocabConfig(input=[config.output], output=config.output, progress=False))


def test_records_are_written_there_once_they_are_whole(
    object_store, configure, files_of, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    local = configure()
    prepare(local)
    remote = dataclasses.replace(local, output="gs://bucket/records")
    object_store.writes_left = 3
    with pytest.raises(KeyboardInterrupt):
        prepare(remote)
    assert len(object_store.objects) == 2  # the mark that it is not finished, and one shard
    assert "gs://bucket/records/dataset.json" not in object_store.objects
    object_store.writes_left = None
    prepare(remote)
    written = {name.rpartition("/")[2]: content for name, content in object_store.objects.items()}
    assert written == files_of(local.output)
    assert not list((tmp_path / "cache").rglob("*.gz"))
    object_store.writes_left = 0  # nothing is written to what is finished
    prepare(remote)
    object_store.writes_left = None
    other = dataclasses.replace(remote, shard_mb=0.05)
    with pytest.raises(InputError, match="records of other input or options; --overwrite"):
        prepare(other)
    prepare(dataclasses.replace(other, overwrite=True))
    prepare(dataclasses.replace(local, shard_mb=0.05, overwrite=True))
    written = {name.rpartition("/")[2]: content for name, content in object_store.objects.items()}
    assert written == files_of(local.output)


def test_a_folder_of_other_files_there_is_left_alone(object_store, configure):
    object_store.objects["gs://bucket/thesis/thesis.tex"] = b""
    with pytest.raises(InputError, match="holds other files"):
        prepare(configure(output="gs://bucket/thesis"))
