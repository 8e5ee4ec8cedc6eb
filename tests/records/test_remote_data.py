"""Reading from gs://: what the readers give for local files they give for objects."""

import dataclasses

import pytest
from helpers.small_records import assert_same, read

from tfbert.errors import InputError
from tfbert.records.prepare import prepare


def test_records_are_the_same_batches(object_store, configure, files_of):
    config = configure()
    prepare(config)
    files = files_of(config.output)
    object_store.objects |= {f"gs://bucket/records/{name}": files[name] for name in files}
    local, remote = (read(path, 8, seed=1) for path in (config.output, "gs://bucket/records"))
    assert_same(remote.batch(3), local.batch(3))


def test_records_are_written_there_once_they_are_whole(
    object_store, configure, files_of, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    local, remote = configure(), configure(output="gs://bucket/records")

    def written():
        return {name.rpartition("/")[2]: data for name, data in object_store.objects.items()}

    prepare(local)
    object_store.writes_left = 3
    with pytest.raises(KeyboardInterrupt):
        prepare(remote)
    assert len(object_store.objects) == 2  # the mark that it is not finished, and one shard
    assert "gs://bucket/records/dataset.json" not in object_store.objects
    object_store.writes_left = None
    prepare(remote)
    assert written() == files_of(local.output)
    assert not list((tmp_path / "cache").rglob("*.gz"))
    object_store.writes_left = 0  # nothing is written to what is finished
    prepare(remote)
    object_store.writes_left = None
    other = dataclasses.replace(remote, shard_mb=0.05)
    with pytest.raises(InputError, match="records of other input or options; --overwrite"):
        prepare(other)
    prepare(dataclasses.replace(other, overwrite=True))
    prepare(dataclasses.replace(local, shard_mb=0.05, overwrite=True))
    assert written() == files_of(local.output)
