"""Downloads, from files on this machine in the place of the public addresses."""

import hashlib
import zipfile

import pytest

from tfbert.errors import InputError
from tfbert.tasks import public_sets
from tfbert.tasks.labelled_data import LabelledData
from tfbert.tasks.public_sets import PUBLIC_SETS, PublicSet, find_data, find_text


@pytest.fixture
def archive(tmp_path):
    """A zip of SST-2's form with four sentences."""
    rows = "sentence\tlabel\ngood\t1\nbad\t0\n"
    path = tmp_path / "offered" / "SST-2.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("SST-2/train.tsv", rows)
        file.writestr("SST-2/dev.tsv", rows)
    return path


def offer(monkeypatch, task, path, folder, sha256=None):
    """Puts a local file in the place of a public one."""
    digest = sha256 or hashlib.sha256(path.read_bytes()).hexdigest()
    source = PublicSet(path.as_uri(), digest, folder)
    monkeypatch.setitem(public_sets.PUBLIC_SETS, task, source)


def test_an_archive_is_downloaded_once_and_unpacked(archive, tmp_path, monkeypatch):
    offer(monkeypatch, "sst2", archive, "SST-2")
    path = find_data("sst2", cache=tmp_path)
    train, evaluation = LabelledData("sst2", path).splits()
    assert train.texts == evaluation.texts == ["good", "bad"]
    archive.unlink()
    assert find_data("sst2", cache=tmp_path) == path


def test_a_file_that_stays_packed(archive, tmp_path, monkeypatch):
    offer(monkeypatch, "movie_reviews", archive, None)
    path = find_data("movie_reviews", cache=tmp_path)
    assert path == str(tmp_path / "datasets" / "SST-2.zip")


def test_another_file_than_expected_is_refused(archive, tmp_path, monkeypatch):
    offer(monkeypatch, "sst2", archive, "SST-2", sha256="0" * 64)
    with pytest.raises(InputError, match="sst2 cannot be downloaded: Incomplete or corrupted"):
        find_data("sst2", cache=tmp_path)


def test_without_a_network_there_is_one_line(archive, tmp_path, monkeypatch):
    offer(monkeypatch, "sst2", archive, "SST-2")
    archive.unlink()
    with pytest.raises(InputError) as error:
        find_data("sst2", cache=tmp_path)
    assert "sst2 cannot be downloaded" in str(error.value)
    assert "give its path" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_needs_no_download():
    assert find_data("embedded") is None
    assert find_data("sst2", "there") == "there"
    for task in ("csv", "nonsense"):
        with pytest.raises(InputError, match=task):
            find_data(task)


def test_addresses_and_checksums_are_of_the_right_form():
    for source in PUBLIC_SETS.values():
        assert source.url.startswith("https://")
        assert len(bytes.fromhex(source.sha256)) == 32


def test_raw_text(tmp_path, monkeypatch):
    text = find_text("embedded", tmp_path)
    assert text["documents"] == "line"
    with open(text["input"][0], encoding="utf-8") as file:
        assert sum(1 for _ in file) == 1_200
    assert find_text("mine.txt", tmp_path) == {"input": ["mine.txt"], "documents": "line"}
    monkeypatch.setattr(public_sets, "find_data", lambda task: "/downloads/aclImdb")
    assert find_text("imdb", tmp_path)["input"] == ["/downloads/aclImdb/train/unsup"]
