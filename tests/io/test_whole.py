import pytest

from tfbert.errors import InputError
from tfbert.io.paths import as_path
from tfbert.io.whole import (
    FINISHED_FILE,
    is_whole,
    local_copy,
    move,
    read_json,
    remove,
    replacing,
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
    assert [entry.name for entry in place.iterdir()] == ["file.json"]


def test_a_folder_is_replaced_with_all_that_was_in_it(place):
    path = place / "folder"
    assert not is_whole(path)
    write_folder(path, "a", "b")
    write_folder(path, "a", "sub/c")
    assert contents(path) == {"a": "a", "sub/c": "sub/c"}
    assert is_whole(path)
    with local_copy(path) as copy:
        assert contents(copy) == contents(path)
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


def test_a_file_in_an_object_store_is_copied_to_be_read(object_store):
    write_bytes("gs://bucket/model.h5", b"weights")
    with local_copy("gs://bucket/model.h5") as copy:
        assert copy.name == "model.h5"
        assert copy.read_bytes() == b"weights"
    assert not copy.exists()


def test_local_files_are_read_in_place(tmp_path):
    with local_copy(tmp_path) as copy:
        assert copy == tmp_path


def test_what_is_no_json_is_named(place):
    write_bytes(place / "file.json", b"{")
    with pytest.raises(InputError, match=r"file\.json: damaged, not JSON"):
        read_json(place / "file.json")


def test_the_mark_of_a_finished_folder_is_only_for_object_stores(tmp_path):
    write_folder(tmp_path / "folder", "a")
    assert not (tmp_path / "folder" / FINISHED_FILE).exists()
