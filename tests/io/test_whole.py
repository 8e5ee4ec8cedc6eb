import errno

import pytest

from tfbert.errors import InputError, MachineError
from tfbert.io.paths import as_path
from tfbert.io.whole import (
    FINISHED_FILE,
    is_published_in_part,
    is_whole,
    local_folder,
    move,
    publish,
    read_json,
    remove,
    replacing,
    saving,
    unfinished_folder,
    write_bytes,
    write_json,
)


def write_folder(path, *names):
    with replacing(path) as temporary:
        for name in names:
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_text(name)


def contents(path):
    return {
        name: (path / name).read_text() for name in ("a", "b", "sub/c") if (path / name).exists()
    }


def test_a_file_is_replaced_only_if_all_goes_well(place):
    path = place / "file.json"
    write_json(path, {"value": 1})
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert read_json(path) == {"value": 1}
    with replacing(path) as temporary:
        temporary.write_text("[2]")
    assert read_json(path) == [2]
    with pytest.raises(ZeroDivisionError), replacing(place / "x.weights.h5") as temporary:
        assert temporary.suffixes[-2:] == [".weights", ".h5"]  # Keras reads the form from them
        raise ZeroDivisionError
    assert [entry.name for entry in place.iterdir()] == ["file.json"]


def test_a_folder_is_replaced_with_all_that_was_in_it(place):
    path = place / "folder"
    assert not is_whole(path)
    write_folder(path, "a", "b")
    with pytest.raises(OSError), replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert contents(path) == {"a": "a", "b": "b"}
    write_folder(path, "a", "sub/c")
    assert contents(path) == {"a": "a", "sub/c": "sub/c"}
    assert is_whole(path)
    assert [entry.name for entry in place.iterdir()] == ["folder"]
    assert contents(local_folder(path)) == contents(path)
    remove(path)
    remove(path)
    assert not path.exists()


@pytest.mark.parametrize("writes", range(7))
def test_a_half_written_folder_in_an_object_store_is_never_whole(object_store, writes):
    path = as_path("gs://bucket/folder")
    write_folder(path, "a", "b")
    object_store.writes_left = writes
    try:
        write_folder(path, "a", "sub/c")
    except KeyboardInterrupt:
        whole = contents(path) in ({"a": "a", "b": "b"}, {"a": "a", "sub/c": "sub/c"})
        assert whole or not is_whole(path)
        # Only the very first step leaves the old folder as it was.
        assert is_whole(path) == (writes == 0)
    else:
        assert writes == 6
        assert is_whole(path)


def test_a_move_that_was_cut_short_goes_on(object_store):
    source, target = as_path("gs://bucket/old"), as_path("gs://bucket/new")
    write_folder(source, "a", "b", "sub/c")
    object_store.writes_left = 2
    with pytest.raises(KeyboardInterrupt):
        move(source, target)
    assert not is_whole(target)
    object_store.writes_left = None
    move(source, target)
    assert contents(target) == {"a": "a", "b": "b", "sub/c": "sub/c"}
    assert is_whole(target)
    assert not source.exists()


def test_a_folder_is_copied_again_only_where_it_has_changed(object_store, tmp_path):
    path = as_path("gs://bucket/folder")
    write_folder(path, "a")
    copy = local_folder(path)
    assert local_folder(path) == copy
    write_folder(path, "a", "b")
    assert contents(local_folder(path)) == {"a": "a", "b": "b"}
    assert local_folder(tmp_path) == tmp_path


@pytest.mark.parametrize("writes", range(8))
def test_a_folder_that_is_published_is_whole_or_known_not_to_be(
    object_store, tmp_path, monkeypatch, writes
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    target = as_path("gs://bucket/folder")
    for name in ("a", "old", "sub/c"):
        write_bytes(target / name, b"before")
    source = unfinished_folder(target)
    source.mkdir(parents=True)
    for name in ("a", "b"):
        (source / name).write_text(name)
    object_store.writes_left = writes
    try:
        publish(source, target, last="a", replaced=["old"])
    except KeyboardInterrupt:
        object_store.writes_left = None
        assert is_published_in_part(target) == (writes > 0)
        assert (target / "a").exists() == (writes in (0, 1, 5))
        publish(source, target, last="a", replaced=["old"])
    else:
        assert writes > 5
    assert not is_published_in_part(target)
    assert contents(target) == {"a": "a", "b": "b", "sub/c": "before"}
    assert not (target / "old").exists()


def test_what_takes_long_grows_beside_its_place(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    assert unfinished_folder(tmp_path / "a") == tmp_path / "a.unfinished"
    assert unfinished_folder(tmp_path / "link") == tmp_path / "disk.unfinished"
    source = tmp_path / "a.unfinished"
    source.mkdir()
    (source / "a").write_text("a")
    publish(source, tmp_path / "a", last="a")
    assert contents(tmp_path / "a") == {"a": "a"}
    assert not source.exists()


def test_what_is_not_json_is_named(place):
    write_bytes(place / "file.json", b"{")
    with pytest.raises(InputError, match=r"file\.json: damaged, not JSON"):
        read_json(place / "file.json")


def test_the_mark_of_a_finished_folder_is_only_for_object_stores(tmp_path):
    write_folder(tmp_path / "folder", "a")
    assert not (tmp_path / "folder" / FINISHED_FILE).exists()


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
