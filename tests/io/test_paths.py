import subprocess
import sys

import pytest

from tfbert.io.paths import RemotePath, as_path, find_files, is_remote


@pytest.fixture
def folder(object_store):
    for name in ("a.txt", "b.txt.gz", "deep/c.txt", "deep/er/d.txt", "deep/er/e.csv"):
        object_store.objects[f"gs://bucket/folder/{name}"] = name.encode()
    return RemotePath("gs://bucket/folder")


def test_only_addresses_on_gs_are_remote(tmp_path):
    assert not is_remote(tmp_path)
    assert not is_remote("hf://owner/name")
    assert as_path(tmp_path) == as_path(str(tmp_path)) == tmp_path
    assert isinstance(as_path("gs://bucket/a"), RemotePath)


def test_names_are_taken_apart_as_those_of_local_paths():
    path = RemotePath("gs://bucket/folder//sub/file.txt.gz")
    assert str(path) == "gs://bucket/folder/sub/file.txt.gz"
    assert (path.name, path.suffix) == ("file.txt.gz", ".gz")
    assert path.parent / "file.txt.gz" == path
    assert path.relative_to(RemotePath("gs://bucket/folder")) == "sub/file.txt.gz"
    bucket = RemotePath("gs://bucket")
    assert bucket.parent == bucket


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
    ):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            attempt(folder / "missing")
    (folder / "missing").unlink(missing_ok=True)


def test_a_file_is_read_by_lines_and_from_its_end(object_store):
    object_store.objects["gs://bucket/lines"] = b"one\ntwo\nthree"
    with RemotePath("gs://bucket/lines").open() as file:
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
    for path in folder.files():
        copy = tmp_path / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch()
    found = [path.relative_to(folder) for path in find_files(f"{folder}/{pattern}")]
    local = [path for path in tmp_path.glob(pattern) if path.is_file()]
    assert found == names
    assert sorted(found) == sorted(path.relative_to(tmp_path).as_posix() for path in local)


def test_local_paths_do_not_wait_for_tensorflow(tmp_path):
    program = (
        "import sys; from tfbert.io.whole import write_json, read_json, remove; "
        "from tfbert.io.paths import as_path; path = as_path(sys.argv[1]); "
        "write_json(path, [1]); read_json(path); remove(path); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "file.json"], check=True)
