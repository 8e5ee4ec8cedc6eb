import subprocess
import sys

import pytest
import tensorflow as tf

from tfbert.errors import InputError
from tfbert.io.object_store import StorePath
from tfbert.io.paths import (
    as_path,
    exists,
    files_below,
    find_files,
    has_folder,
    is_remote,
    same_file,
)


@pytest.fixture
def folder(object_store):
    for name in ("a.txt", "b.txt.gz", "deep/c.txt", "deep/er/d.txt", "deep/er/e.csv"):
        object_store.objects[f"gs://bucket/folder/{name}"] = name.encode()
    return StorePath("gs://bucket/folder")


def test_only_addresses_on_gs_are_remote(tmp_path):
    assert not is_remote(tmp_path)
    assert not is_remote("hf://owner/name")
    assert as_path(tmp_path) == as_path(str(tmp_path)) == tmp_path
    assert isinstance(as_path("gs://bucket/a"), StorePath)


def test_names_are_taken_apart_as_those_of_local_paths():
    path = StorePath("gs://bucket/folder//sub/file.txt.gz")
    assert str(path) == "gs://bucket/folder/sub/file.txt.gz"
    assert (path.name, path.suffix) == ("file.txt.gz", ".gz")
    assert path.parent / "file.txt.gz" == path
    assert str(path.relative_to(StorePath("gs://bucket/folder"))) == "sub/file.txt.gz"


def test_folders_are_what_files_are_in(folder):
    assert folder.is_dir() and not folder.is_file()
    assert (folder / "a.txt").is_file() and not (folder / "a.txt").is_dir()
    assert not (folder / "missing").exists()
    assert [path.name for path in folder.iterdir()] == ["a.txt", "b.txt.gz", "deep"]
    assert [path.name for path in folder.rglob("*.txt")] == ["a.txt", "c.txt", "d.txt"]
    assert [path.name for path in folder.glob("*.txt")] == ["a.txt"]
    assert (folder / "missing").glob("*") == []


def test_a_missing_file_is_pythons_own_error(folder):
    for attempt in (
        lambda path: path.read_bytes(),
        lambda path: path.open(),
        lambda path: path.unlink(),
        lambda path: path.stat(),
        lambda path: path.iterdir(),
        lambda path: path.read_text(),
        lambda path: path.replace(path.parent / "other"),
    ):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            attempt(folder / "missing")
    (folder / "missing").unlink(missing_ok=True)


def test_a_file_is_read_by_lines_and_from_its_end(object_store):
    object_store.objects["gs://bucket/lines"] = b"one\ntwo\nthree"
    with StorePath("gs://bucket/lines").open("rb") as file:
        assert list(file) == [b"one\n", b"two\n", b"three"]
        file.seek(-5, 2)
        assert file.read() == b"three"
        file.seek(4)
        assert file.readline(2) == b"tw"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.txt", ["a.txt"]),
        ("*", ["a.txt", "b.txt.gz"]),
        ("*/*.txt", ["deep/c.txt"]),
        ("**/*.txt", ["a.txt", "deep/c.txt", "deep/er/d.txt"]),
        ("deep/**/?.[ct]*", ["deep/c.txt", "deep/er/d.txt", "deep/er/e.csv"]),
        ("none/*", []),
    ],
)
def test_globs_match_as_on_local_disks(folder, tmp_path, pattern, names):
    for path in files_below(folder):
        copy = tmp_path / path.relative_to(folder).as_posix()
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch()
    for place in (folder, tmp_path):
        found = [path.removeprefix(f"{place}/") for path in find_files(f"{place}/{pattern}")]
        assert found == names


def test_local_paths_do_not_wait_for_tensorflow(tmp_path):
    program = (
        "import sys; from tfbert.io.whole import write_json, read_json, remove; "
        "from tfbert.io.paths import as_path; path = as_path(sys.argv[1]); "
        "write_json(path, [1]); read_json(path); remove(path); "
        "sys.exit('tensorflow' in sys.modules or 'etils' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "file.json"], check=True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (tf.errors.PermissionDeniedError, PermissionError),
        (tf.errors.UnauthenticatedError, PermissionError),
        (tf.errors.AlreadyExistsError, FileExistsError),
        (tf.errors.UnavailableError, OSError),
    ],
)
def test_every_refusal_is_pythons_own_error(object_store, monkeypatch, error, expected):
    def refuse(*_, **__):
        raise error(None, None, "refused\nwith details")

    for name in ("exists", "isdir", "listdir", "stat", "rename", "remove", "rmtree", "copy"):
        monkeypatch.setattr(object_store, name, refuse)
    monkeypatch.setattr("helpers.object_store._Object.size", refuse)
    object_store.objects["gs://bucket/file"] = b""
    path = as_path("gs://bucket/file")
    for attempt in (
        path.exists,
        path.is_dir,
        path.stat,
        path.unlink,
        path.rmtree,
        path.read_bytes,
        lambda: list(path.iterdir()),
        lambda: path.replace("gs://bucket/other"),
        lambda: path.copy("gs://bucket/other"),
    ):
        with pytest.raises(expected) as caught:
            attempt()
        assert (caught.value.strerror, caught.value.filename) == ("refused", "gs://bucket/file")


def test_what_is_asked_of_disks_and_of_gs_alike(object_store, tmp_path):
    object_store.objects["gs://bucket/a"] = b""
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    for place in ("gs://bucket", str(tmp_path)):
        assert exists(f"{place}/a") and not exists(f"{place}/b")
        assert same_file(f"{place}/a", f"{place}//a") and not same_file(f"{place}/a", f"{place}/b")
        assert has_folder(f"{place}/new")
    assert same_file(tmp_path / "a", tmp_path / "link")
    assert not has_folder(tmp_path / "none" / "new") and has_folder("gs://bucket/none/new")
    assert not exists(tmp_path / ("x" * 300))


def test_a_tensorflow_without_gs_is_one_line(monkeypatch):
    monkeypatch.setattr("tensorflow.io.gfile.get_registered_schemes", lambda: ["file"])
    with pytest.raises(InputError, match=r"gs:// cannot be read by this TensorFlow: pip install"):
        as_path("gs://bucket/a").exists()
